#pragma once
// exp in fp32 from explicit fma, so that every instruction set and device gives the same bits.
#include <bit>
#include <cmath>
#include <cstdint>

// Forced, so that a formula is compiled for the instruction set of the loop that calls it.
#if defined(__CUDACC__)
#define SHERD_FORMULA __host__ __device__ __forceinline__
#else
#define SHERD_FORMULA inline __attribute__((always_inline))
#endif

namespace sherd::kernels {

/// exp(x) within 2 ulp; 0 below -86.6 (about 2^-125), infinity above 88.72, NaN stays NaN.
///
/// **Source** Cephes `expf`: Cody-Waite reduction to |r| <= ln2/2 and its polynomial of degree 7.
SHERD_FORMULA float exp_f32(float x) {
  constexpr float magic = 12582912.0f;  // 1.5·2^23: adding it rounds to an integer
  const float bounded = x > 89.0f ? 89.0f : (x < -87.0f ? -87.0f : x);
  const float shifted = ::fmaf(bounded, 1.44269504f, magic);
  const float n = shifted - magic;
  const float r = ::fmaf(n, 2.12194440e-4f, ::fmaf(n, -0.693359375f, bounded));
  float p = ::fmaf(1.9875691500e-4f, r, 1.3981999507e-3f);
  p = ::fmaf(p, r, 8.3334519073e-3f);
  p = ::fmaf(p, r, 4.1665795894e-2f);
  p = ::fmaf(p, r, 1.6666665459e-1f);
  p = ::fmaf(p, r, 5.0000001201e-1f);
  p = ::fmaf(p, r * r, r) + 1.0f;
  // Half the power first: 2^128 is no float, but 2^127 · 2 overflows as it should.
  const std::uint32_t power = std::bit_cast<std::uint32_t>(shifted) - 0x4b400000u + 126u;
  const float y = p * std::bit_cast<float>(power << 23) * 2.0f;
  return x < -86.6f ? 0.0f : y;
}

}  // namespace sherd::kernels
