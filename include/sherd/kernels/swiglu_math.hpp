#pragma once
// SiLU of one element, shared by every device.
// Source: Elfwing et al. 2018, "Sigmoid-weighted linear units", §2: x·sigmoid(x).
#include "sherd/kernels/exp_math.hpp"

namespace sherd::kernels {

SHERD_FORMULA float silu_gate(float x) { return 1.0f / (1.0f + exp_f32(-x)); }
SHERD_FORMULA float swiglu_element(float gate, float up) { return gate * silu_gate(gate) * up; }

struct SwigluSlopes {
  float gate, up;
};
/// d silu / dx = s + x·s(1 - s).
SHERD_FORMULA SwigluSlopes swiglu_slopes(float gate, float up, float d_out) {
  const float s = silu_gate(gate), silu = gate * s;
  return {d_out * up * ::fmaf(silu, 1.0f - s, s), d_out * silu};
}

}  // namespace sherd::kernels
