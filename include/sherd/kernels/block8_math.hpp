#pragma once
// The 8-bit code of moments: a block of 256 elements is their largest magnitude and a code of each.
// Source: Dettmers et al. 2022, "8-bit Optimizers via Block-wise Quantization", §2; the map is
// bitsandbytes' `create_dynamic_map`, signed for m, unsigned for v.
#include <cstddef>

#include "sherd/base/dtype.hpp"
#include "sherd/kernels/exp_math.hpp"

namespace sherd::kernels {

/// Magnitudes of codes in eight pieces: decade k = 0 … 6 is cut into 2^k cells (unsigned: 2^(k+1))
/// of equal width, a code is a cell's centre; piece 7 is 1. A code's rank counts magnitudes from
/// zero. As a function of magnitude it bends down at the end of each decade, so it is the lesser of
/// two lines: one along the decade's cells and one across its end.
struct Block8Map {
  float slope[8] = {}, base[8] = {};              // the first line; the second follows from it
  float bend = 0;                                 // second: 1/4 · first + 27/16 · base + bend
  float log_slope = 0, log_base = 0;              // piece = round(log_slope · bits(u) + log_base)
  float least = 0;                                // magnitudes below go as this one
  float value_slope[8] = {}, value_base[8] = {};  // by exponent of 2 · rank (unsigned: rank + 1)
};

/// Of magnitudes: a block's largest is this, where the bits of a float, nearly linear in its
/// logarithm, tell the pieces apart: each between a decade's end and its next cell's.
inline constexpr float block8_unit = 1.25f;
/// Adding it rounds to an integer, which is then in the low bits: no conversion is needed.
inline constexpr float block8_magic = 12582912.0f;

[[nodiscard]] constexpr Block8Map block8_map(bool is_signed) {
  const auto exponent_of = [](double x) {
    return static_cast<std::size_t>(std::bit_cast<std::uint32_t>(static_cast<float>(x)) >> 23) % 8;
  };
  constexpr auto unit = static_cast<double>(block8_unit);
  Block8Map map;
  const double shift = is_signed ? 0 : 1;        // ranks are powers of two less this
  const double count = is_signed ? 2 : 1;        // numbers of a rank
  double cells = is_signed ? 1 : 2, top = 1e-6;  // of a decade: its cells, and where it ends
  for (std::size_t k = 0; k < 7; ++k, cells *= 2, top *= 10) {
    map.slope[k] = static_cast<float>(cells / (0.9 * top * unit));
    map.base[k] = static_cast<float>(cells * 8 / 9 - 0.5 - shift);
    map.value_slope[exponent_of(count * cells)] = static_cast<float>(0.9 * top / cells / count);
    map.value_base[exponent_of(count * cells)] = static_cast<float>(top * (0.45 / cells - 0.8));
  }
  map.bend = is_signed ? 0.21875f : 1.15625f;
  map.log_slope = (is_signed ? 0.3183f : 0.310426f) / 0x1p23f;
  map.log_base = block8_magic - (is_signed ? 34 : 33);
  map.least = is_signed ? 0.32e-6f : 0.25e-6f;
  // Between the last cell and 1: to either half of the way.
  const double half = 1 - 0.45 / cells, steep = 64;
  map.slope[7] = static_cast<float>(steep / unit);
  map.base[7] = static_cast<float>(cells - 0.5 - shift - steep * half);
  if (is_signed) {
    // The second line of the first decade is zero's halfway and the next decade's.
    map.slope[0] = static_cast<float>(4 / (1.625e-6 * unit));
    map.base[0] = static_cast<float>((0.5 - 0.275 / 1.625 - 0.21875) * 16 / 31);
    // Numbers 0 and 2 share an exponent; -256 is 1, and there is no 256.
    map.value_slope[0] = (map.value_slope[0] * 2 + map.value_base[0]) / 2;
    map.value_base[0] = 0;
    map.value_base[7] = -1;
  } else {  // numbers 1 and 256 share an exponent
    map.value_slope[7] = 1.0f / 255;
    map.value_base[7] = -1.0f / 255;
  }
  return map;
}
inline constexpr Block8Map signed8 = block8_map(true), unsigned8 = block8_map(false);

/// Signed magnitudes below zero end here: 1 is a code, -1 is not, -0.99297 stands for it.
inline constexpr float block8_lowest = -0.993f * block8_unit;

/// The rank of the code nearest to u in [0, block8_unit · (1 + 2^-20)], before it is rounded; where
/// u is halfway between two codes within fp32's rounding, of either.
SHERD_FORMULA float block8_rank(float u, const Block8Map& map) {
  const float x = u > map.least ? u : map.least;
  const auto bits = static_cast<float>(std::bit_cast<std::int32_t>(x));
  const float rough = ::fmaf(bits, map.log_slope, map.log_base);
  const std::uint32_t piece = std::bit_cast<std::uint32_t>(rough) & 7u;
  const float base = map.base[piece], line = ::fmaf(x, map.slope[piece], base);
  const float end = ::fmaf(line, 0.25f, ::fmaf(base, 1.6875f, map.bend));
  return line < end ? line : end;
}
/// Of a rank's number; `sign`: nothing or the bit of a sign, of the number and of its value.
SHERD_FORMULA float block8_value(float number, std::uint32_t sign, const Block8Map& map) {
  const std::uint32_t exponent = (std::bit_cast<std::uint32_t>(number) >> 23) & 7u;
  const std::uint32_t base = std::bit_cast<std::uint32_t>(map.value_base[exponent]) ^ sign;
  return ::fmaf(number, map.value_slope[exponent], std::bit_cast<float>(base));
}

/// What is stored for a block whose largest magnitude has these bits: itself; 0 (all elements are
/// zero) where it is no normal float; NaN (all elements are NaN) where an element is infinite or
/// NaN. Updates that could bring one in are skipped, so it is a fault, and shows.
SHERD_FORMULA float block8_scale(std::uint32_t largest) {
  if (largest >= 0x7f800000u) return std::bit_cast<float>(0x7fc00000u);
  return largest < 0x00800000u ? 0.0f : std::bit_cast<float>(largest);
}
/// Of a block's scale; 0 where all codes are 0.
SHERD_FORMULA float block8_inverse(float scale) {
  return scale > 0.0f ? block8_unit / scale : 0.0f;
}

/// Signed codes count up and down from zero: the map's position less that of zero, modulo 256.
SHERD_FORMULA std::uint8_t encode_m(float m, float inverse, const Block8Map& map) {
  const float scaled = m * inverse, bounded = scaled > block8_lowest ? scaled : block8_lowest;
  const std::uint32_t sign = std::bit_cast<std::uint32_t>(bounded) & 0x80000000u;
  const auto u = std::bit_cast<float>(std::bit_cast<std::uint32_t>(bounded) ^ sign);
  const std::uint32_t rank = std::bit_cast<std::uint32_t>(block8_rank(u, map)) | sign;
  return static_cast<std::uint8_t>(
      std::bit_cast<std::uint32_t>(std::bit_cast<float>(rank) + block8_magic));
}
SHERD_FORMULA float decode_m(std::uint8_t code, float scale, const Block8Map& map) {
  const auto number = static_cast<float>(2 * static_cast<std::int8_t>(code));
  return block8_value(number, std::bit_cast<std::uint32_t>(number) & 0x80000000u, map) * scale;
}
/// Unsigned codes are the map's positions. What is not zero gets no code of zero: a second moment
/// that vanished beside a first that did not would make m / (sqrt(v) + eps) explode. (bitsandbytes
/// leaves it at zero; torchao's 4-bit map leaves zero out for the same reason.)
SHERD_FORMULA std::uint8_t encode_v(float v, float inverse, const Block8Map& map) {
  const float rank = v > 0.0f ? block8_rank(v * inverse, map) : 0.0f;
  return static_cast<std::uint8_t>(std::bit_cast<std::uint32_t>(rank + block8_magic));
}
SHERD_FORMULA float decode_v(std::uint8_t code, float scale, const Block8Map& map) {
  return block8_value(static_cast<float>(code + 1), 0, map) * scale;
}

}  // namespace sherd::kernels
