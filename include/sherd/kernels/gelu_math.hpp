#pragma once
// GELU of one element, shared by every device.
// Source: Hendrycks & Gimpel 2016, "Gaussian Error Linear Units", §2: 0.5x(1 + tanh u) with
// u = sqrt(2/pi)(x + 0.044715x³), written as x·sigmoid(2u), which loses no digits for x < 0.
#include "sherd/kernels/exp_math.hpp"

namespace sherd::kernels {

inline constexpr float gelu_slope = 1.5957691216f;           // 2·sqrt(2/pi)
inline constexpr float gelu_cubic = 0.044715f * gelu_slope;  // of x³ in 2u

SHERD_FORMULA float gelu_gate(float x) {
  const float twice_u = x * ::fmaf(gelu_cubic, x * x, gelu_slope);
  return 1.0f / (1.0f + exp_f32(-twice_u));
}
SHERD_FORMULA float gelu_element(float x) { return x * gelu_gate(x); }

/// d gelu / dx = s + x·s(1 - s)·d(2u)/dx.
SHERD_FORMULA float gelu_slope_element(float x) {
  const float s = gelu_gate(x);
  const float du = ::fmaf(3.0f * gelu_cubic, x * x, gelu_slope);
  return ::fmaf(x * du, s * (1.0f - s), s);
}

}  // namespace sherd::kernels
