#pragma once
// fp16 to fp32 by the device's own instruction.
#include <cstdint>

namespace sherd::cuda {

/// Exact, as `to_float(float16)`.
__device__ inline float widen_half(std::uint32_t bits) {
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(static_cast<std::uint16_t>(bits)));
  return wide;
}

}  // namespace sherd::cuda
