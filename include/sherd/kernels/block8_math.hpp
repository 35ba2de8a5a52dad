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
/// zero; inside a piece it is linear in the magnitude.
struct Block8Map {
  float from[8] = {};                 // where a piece begins: halfway between two codes
  float slope[8] = {}, base[8] = {};  // rank = round(slope · u + base), not above `last`
  float last[8] = {};                 // rank of the piece's last code
  float value_slope[8] = {}, value_base[8] = {};  // by exponent of rank (unsigned: + 1), mod 8
};

[[nodiscard]] constexpr Block8Map block8_map(bool is_signed) {
  const auto exponent_of = [](double x) {
    return static_cast<std::size_t>(std::bit_cast<std::uint32_t>(static_cast<float>(x)) >> 23) % 8;
  };
  Block8Map map;
  const double shift = is_signed ? 0 : 1;        // ranks are powers of two less this
  double cells = is_signed ? 1 : 2, top = 1e-6;  // of a decade: its cells, and where it ends
  for (std::size_t k = 0; k < 7; ++k, cells *= 2, top *= 10) {
    map.from[k] = static_cast<float>(k == 0 ? 0 : 0.1 * top * (1 + 1.8 / cells));
    map.slope[k] = static_cast<float>(cells / (0.9 * top));
    map.base[k] = static_cast<float>(cells * 8 / 9 - 0.5 - shift);
    map.last[k] = static_cast<float>(2 * cells - 1 - shift);
    map.value_slope[exponent_of(cells)] = static_cast<float>(0.9 * top / cells);
    map.value_base[exponent_of(cells)] = static_cast<float>(top * (0.45 / cells - 0.8));
  }
  // The first decade reaches down to zero, which is signed rank 0 and unsigned rank 1.
  map.slope[0] = static_cast<float>(is_signed ? 0.5 / 0.275e-6 : 0.99 / 0.55e-6);
  map.base[0] = is_signed ? 0 : 0.51f;
  map.from[7] = static_cast<float>(1 - 0.45 / cells);
  map.base[7] = map.last[7] = static_cast<float>(cells - shift);
  map.value_base[exponent_of(cells)] = 1;
  return map;
}
inline constexpr Block8Map signed8 = block8_map(true), unsigned8 = block8_map(false);

/// Adding it rounds to an integer, which is then in the low bits: no conversion is needed.
inline constexpr float block8_magic = 12582912.0f;
/// The bits of a float are nearly linear in its logarithm: this guesses a piece, or the one above.
inline constexpr float block8_log_slope = 0.305f / 0x1p23f, block8_log_base = block8_magic - 32;
/// Signed magnitudes below zero end here: 1 is a code, -1 is not, -0.99297 stands for it.
inline constexpr float block8_least = -0.993f;

/// The rank of the code nearest to u in [0, 1 + 2^-20], before it is rounded; where u is halfway
/// between two codes within fp32's rounding, of either.
SHERD_FORMULA float block8_rank(float u, const Block8Map& map) {
  const auto bits = static_cast<float>(std::bit_cast<std::int32_t>(u));
  const float rough = ::fmaf(bits, block8_log_slope, block8_log_base);
  const float bounded = rough > block8_magic ? rough : block8_magic;
  const std::uint32_t guess = std::bit_cast<std::uint32_t>(bounded) & 7u;
  const std::uint32_t piece = u < map.from[guess] ? guess - 1 : guess;
  const float rank = ::fmaf(u, map.slope[piece], map.base[piece]);
  return rank < map.last[piece] ? rank : map.last[piece];
}
/// Of a rank from 1 (unsigned: of rank + 1 from 2).
SHERD_FORMULA float block8_magnitude(std::int32_t number, const Block8Map& map) {
  const auto x = static_cast<float>(number);
  const std::uint32_t exponent = (std::bit_cast<std::uint32_t>(x) >> 23) & 7u;
  return ::fmaf(x, map.value_slope[exponent], map.value_base[exponent]);
}

/// What is stored for a block whose largest magnitude has these bits: itself; 0 (all elements are
/// zero) where it is no normal float; NaN (all elements are NaN) where an element is infinite or
/// NaN. Updates that could bring one in are skipped, so it is a fault, and shows.
SHERD_FORMULA float block8_scale(std::uint32_t largest) {
  if (largest >= 0x7f800000u) return std::bit_cast<float>(0x7fc00000u);
  return largest < 0x00800000u ? 0.0f : std::bit_cast<float>(largest);
}
/// Of a block's scale; 0 where all codes are 0.
SHERD_FORMULA float block8_inverse(float scale) { return scale > 0.0f ? 1.0f / scale : 0.0f; }

/// Signed codes count up and down from zero: the map's position less that of zero, modulo 256.
SHERD_FORMULA std::uint8_t encode_m(float m, float inverse, const Block8Map& map) {
  const float scaled = m * inverse, bounded = scaled > block8_least ? scaled : block8_least;
  const std::uint32_t sign = std::bit_cast<std::uint32_t>(bounded) & 0x80000000u;
  const auto u = std::bit_cast<float>(std::bit_cast<std::uint32_t>(bounded) ^ sign);
  const std::uint32_t rank = std::bit_cast<std::uint32_t>(block8_rank(u, map)) | sign;
  return static_cast<std::uint8_t>(
      std::bit_cast<std::uint32_t>(std::bit_cast<float>(rank) + block8_magic));
}
SHERD_FORMULA float decode_m(std::uint8_t code, float scale, const Block8Map& map) {
  const std::int32_t position = ((code + 127) & 255) - 127;
  const std::int32_t rank = position < 0 ? -position : position;
  const float value = (rank == 0 ? 0.0f : block8_magnitude(rank, map)) * scale;
  return position < 0 ? -value : value;
}
/// Unsigned codes are the map's positions. What is not zero gets no code of zero: a second moment
/// that vanished beside a first that did not would make m / (sqrt(v) + eps) explode. (bitsandbytes
/// leaves it at zero; torchao's 4-bit map leaves zero out for the same reason.)
SHERD_FORMULA std::uint8_t encode_v(float v, float inverse, const Block8Map& map) {
  const float rank = v > 0.0f ? block8_rank(v * inverse, map) : 0.0f;
  return static_cast<std::uint8_t>(std::bit_cast<std::uint32_t>(rank + block8_magic));
}
SHERD_FORMULA float decode_v(std::uint8_t code, float scale, const Block8Map& map) {
  return (code == 0 ? 0.0f : block8_magnitude(code + 1, map)) * scale;
}

}  // namespace sherd::kernels
