#include "kernels/cpu/swiglu.hpp"

#include "kernels/cpu/blocks.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/swiglu.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/block-inl.hpp"
#include "sherd/kernels/swiglu_math.hpp"

HWY_BEFORE_NAMESPACE();
namespace sherd::kernels::cpu::HWY_NAMESPACE {

/// A block of elements of `out` within one row: its place, and those of its gate and up.
struct Gated {
  std::int64_t at, n, gate, up;
};
inline Gated gated(std::int64_t at, std::int64_t end, std::int64_t ffn) {
  const std::int64_t row = at / ffn, col = at % ffn;
  return {at, std::min({block, end - at, ffn - col}), row * 2 * ffn + col,
          (row * 2 + 1) * ffn + col};
}

void swiglu_chunk(View gate_up, View out, std::int64_t first, std::int64_t count) {
  float gate_space[block], up_space[block], out_space[block];
  const std::int64_t end = first + count;
  for (Gated g = gated(first, end, out.shape.cols); g.at < end;
       g = gated(g.at + g.n, end, out.shape.cols)) {
    const float* gate = widen(gate_up, g.gate, g.n, gate_space);
    const float* up = widen(gate_up, g.up, g.n, up_space);
    float* y = window(out, g.at, out_space);
#pragma GCC ivdep
    for (std::int64_t i = 0; i < g.n; ++i) y[i] = swiglu_element(gate[i], up[i]);
    narrow(y, out, g.at, g.n);
  }
}

void swiglu_backward_chunk(View gate_up, View d_out, View d_gate_up, std::int64_t first,
                           std::int64_t count) {
  float gate_space[block], up_space[block], d_out_space[block];
  float d_gate_space[block], d_up_space[block];
  const std::int64_t end = first + count;
  for (Gated g = gated(first, end, d_out.shape.cols); g.at < end;
       g = gated(g.at + g.n, end, d_out.shape.cols)) {
    const float* gate = widen(gate_up, g.gate, g.n, gate_space);
    const float* up = widen(gate_up, g.up, g.n, up_space);
    const float* dy = widen(d_out, g.at, g.n, d_out_space);
    float* d_gate = window(d_gate_up, g.gate, d_gate_space);
    float* d_up = window(d_gate_up, g.up, d_up_space);
#pragma GCC ivdep
    for (std::int64_t i = 0; i < g.n; ++i) {
      const SwigluSlopes slopes = swiglu_slopes(gate[i], up[i], dy[i]);
      d_gate[i] = slopes.gate;
      d_up[i] = slopes.up;
    }
    narrow(d_gate, d_gate_up, g.gate, g.n);
    narrow(d_up, d_gate_up, g.up, g.n);
  }
}

}  // namespace sherd::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sherd::kernels::cpu {

HWY_EXPORT(swiglu_chunk);
HWY_EXPORT(swiglu_backward_chunk);

void swiglu(View gate_up, View out, device::Workers& workers) {
  run_chunks(workers, out.numel(), chunk, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(swiglu_chunk)(gate_up, out, first, count);
  });
}
void swiglu_backward(View gate_up, View d_out, View d_gate_up, device::Workers& workers) {
  run_chunks(workers, d_out.numel(), chunk, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(swiglu_backward_chunk)(gate_up, d_out, d_gate_up, first, count);
  });
}

}  // namespace sherd::kernels::cpu
#endif
