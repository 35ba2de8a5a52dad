#pragma once
// The gated unit of the llama family: out = silu(gate) · up, silu(x) = x / (1 + exp(-x)).
// Source: Shazeer 2020, "GLU Variants Improve Transformer", §2.
#include "sherd/device/stream.hpp"
#include "sherd/kernels/grad.hpp"

namespace sherd::kernels {

/// **Shapes** gate_up [rows, 2·ffn]: gate | up; out [rows, ffn]. Types are fp32, bf16, fp16.
void swiglu(View gate_up, View out, StreamRef stream);
/// d_gate_up [rows, 2·ffn] may be gate_up.
void swiglu_backward(View gate_up, View d_out, View d_gate_up, StreamRef stream);

}  // namespace sherd::kernels
