#pragma once
// Attention by our own kernels: every float type, fp32 arithmetic, heads of up to 256 elements.
#include "sherd/device/stream.hpp"
#include "sherd/kernels/attention.hpp"

namespace sherd::cuda {

/// **Errors** UsageError: a head is longer than 256.
void own_attention(const kernels::AttentionArgs& args, StreamRef stream);
/// Deterministic: a pass for d_q, one for d_k and d_v, no atomics.
void own_attention_backward(const kernels::AttentionBackwardArgs& args, StreamRef stream);

}  // namespace sherd::cuda
