#include "sherd/kernels/swiglu.hpp"

#include "kernels/checks.hpp"
#include "kernels/cpu/swiglu.hpp"
#include "sherd/kernels/interface.hpp"

namespace sherd::kernels {
namespace {

bool is_pair_of(const View& gate_up, const View& out) {
  return gate_up.shape == Shape{out.shape.rows, 2 * out.shape.cols};
}

}  // namespace

void swiglu(View gate_up, View out, StreamRef stream) {
  expects(is_float(gate_up) && is_float(out),
          "swiglu: got an integer view, need fp32, bf16 or fp16");
  expects(is_pair_of(gate_up, out) && holds(gate_up, gate_up.numel()) && holds(out, out.numel()),
          "swiglu: got views that do not fit or are absent, need [rows, 2·ffn] and [rows, ffn]");
  if (on_device(stream)) return twin(stream).swiglu(gate_up, out, stream);
  cpu::swiglu(gate_up, out, stream.workers());
}

void swiglu_backward(View gate_up, View d_out, View d_gate_up, StreamRef stream) {
  expects(is_float(gate_up) && is_float(d_out) && is_float(d_gate_up),
          "swiglu_backward: got an integer view, need fp32, bf16 or fp16");
  expects(is_pair_of(gate_up, d_out) && is_pair_of(d_gate_up, d_out) &&
              holds(gate_up, gate_up.numel()) && holds(d_out, d_out.numel()) &&
              holds(d_gate_up, d_gate_up.numel()),
          "swiglu_backward: got views that do not fit or are absent, need [rows, 2·ffn] twice and "
          "[rows, ffn]");
  if (on_device(stream)) return twin(stream).swiglu_backward(gate_up, d_out, d_gate_up, stream);
  cpu::swiglu_backward(gate_up, d_out, d_gate_up, stream.workers());
}

}  // namespace sherd::kernels
