#pragma once
// The 8-bit code of moments: a block of 256 elements is their largest magnitude and a code of each.
// Source: Dettmers et al. 2022, "8-bit Optimizers via Block-wise Quantization", §2; the map is
// bitsandbytes' `create_dynamic_map`, signed for m, unsigned for v.
#include <cstddef>

#include "sherd/base/dtype.hpp"
#include "sherd/kernels/exp_math.hpp"

namespace sherd::kernels {

/// The magnitudes of a code in eight pieces: decade k = 0 … 6 is cut into 2^k cells (unsigned:
/// 2^(k+1)) of equal width, a code is a cell's centre; piece 7 is 1. Inside a piece, the number of
/// a code is linear in its magnitude. Numbers count from 0 (signed, 0 is zero) or 1 (unsigned).
struct Block8Map {
  float from[8] = {};                 // where a piece begins: halfway between two codes
  float slope[8] = {}, base[8] = {};  // number = floor(slope · u + base), not above `last`
  float last[8] = {};                 // number of the piece's last code
  float value_slope[8] = {}, value_base[8] = {};  // by exponent of the number, mod 8 (see decode)
};

[[nodiscard]] constexpr Block8Map block8_map(bool is_signed) {
  Block8Map map;
  double cells = is_signed ? 1 : 2, top = 1e-6;  // of a decade: its cells, and where it ends
  for (std::size_t k = 0; k < 7; ++k, cells *= 2, top *= 10) {
    map.from[k] = static_cast<float>(k == 0 ? 0 : 0.1 * top * (1 + 1.8 / cells));
    map.slope[k] = static_cast<float>(cells / (0.9 * top));
    map.base[k] = static_cast<float>(cells * 8 / 9);
    map.last[k] = static_cast<float>(2 * cells - 1);
    const auto exponent =
        static_cast<std::size_t>(std::bit_cast<std::uint32_t>(static_cast<float>(cells)) >> 23) % 8;
    map.value_slope[exponent] = static_cast<float>(0.9 * top / cells);
    map.value_base[exponent] = static_cast<float>(top * (0.45 / cells - 0.8));
  }
  // The first decade reaches down to zero, which is a signed code and no unsigned one.
  map.slope[0] = static_cast<float>(is_signed ? 1 / 0.275e-6 : 1 / 0.55e-6);
  map.base[0] = is_signed ? 0 : 2;
  map.from[7] = static_cast<float>(1 - 0.45 / cells);
  map.base[7] = map.last[7] = static_cast<float>(cells);
  const auto exponent =
      static_cast<std::size_t>(std::bit_cast<std::uint32_t>(static_cast<float>(cells)) >> 23) % 8;
  map.value_base[exponent] = 1;
  return map;
}
inline constexpr Block8Map signed8 = block8_map(true), unsigned8 = block8_map(false);

/// log10 of a positive float is linear in its bits within 0.026; the offset makes the guess of a
/// piece right or one too high.
inline constexpr float block8_log_slope = 0.30102999566f / 0x1p23f,
                       block8_log_base = 7.03f - 127 * 0.30102999566f;

/// The number of the code nearest to u in [0, 1 + 2^-20]; where u is halfway between two codes
/// within fp32's rounding, either.
SHERD_FORMULA std::int32_t block8_number(float u, const Block8Map& map) {
  const auto bits = static_cast<float>(std::bit_cast<std::int32_t>(u));
  const auto rough = static_cast<std::int32_t>(::fmaf(bits, block8_log_slope, block8_log_base));
  const std::int32_t guess = rough > 0 ? rough : 0;
  const std::int32_t piece = u < map.from[guess] ? guess - 1 : guess;
  const float number = ::fmaf(u, map.slope[piece], map.base[piece]);
  return static_cast<std::int32_t>(number < map.last[piece] ? number : map.last[piece]);
}
/// The magnitude of a number from 1.
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
/// 1 is a code, -1 is not: -0.993 stands for it.
SHERD_FORMULA std::uint8_t encode_m(float m, float inverse, const Block8Map& map) {
  const auto bits = std::bit_cast<std::uint32_t>(m);
  const float u = std::bit_cast<float>(bits & 0x7fffffffu) * inverse;
  const std::int32_t number = block8_number(u, map);
  const std::int32_t below = number < 127 ? number : 127;
  return static_cast<std::uint8_t>((bits >> 31) != 0 ? -below : number);
}
SHERD_FORMULA float decode_m(std::uint8_t code, float scale, const Block8Map& map) {
  const std::int32_t position = ((code + 127) & 255) - 127;
  const std::int32_t number = position < 0 ? -position : position;
  const float value = (number == 0 ? 0.0f : block8_magnitude(number, map)) * scale;
  return position < 0 ? -value : value;
}
/// Unsigned codes are the map's positions. What is not zero gets no code of zero: a second moment
/// that vanished beside a first that did not would make m / (sqrt(v) + eps) explode.
SHERD_FORMULA std::uint8_t encode_v(float v, float inverse, const Block8Map& map) {
  const std::int32_t number = block8_number(v * inverse, map);
  return static_cast<std::uint8_t>(v > 0.0f ? number - 1 : 0);
}
SHERD_FORMULA float decode_v(std::uint8_t code, float scale, const Block8Map& map) {
  return (code == 0 ? 0.0f : block8_magnitude(code + 1, map)) * scale;
}

}  // namespace sherd::kernels
