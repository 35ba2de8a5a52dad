#pragma once
// Two standard normals from two random words, in fp64 and explicit fma: no C library decides a bit.
// Source: Box & Muller 1958, "A note on the generation of random normal deviates".
#include "sherd/kernels/exp_math.hpp"

namespace sherd::kernels {

/// log((word + 1) / 2^32), within 1e-15 relative: 2·artanh((m - 1) / (m + 1)) of the mantissa m.
SHERD_FORMULA double log_of_word(std::uint32_t word) {
  const auto bits = std::bit_cast<std::uint64_t>(static_cast<double>(word) + 1.0);
  const std::uint64_t fraction = bits & 0xfffffffffffffu;
  const bool upper = fraction > 0x6a09e667f3bccu;  // m > sqrt(2): halve it
  const double m =
      std::bit_cast<double>(fraction | (upper ? 0x3fe0000000000000u : 0x3ff0000000000000u));
  const int exponent = static_cast<int>(bits >> 52) - 1023 + (upper ? 1 : 0) - 32;
  const double s = (m - 1.0) / (m + 1.0), z = s * s;
  double p = 1.0 / 19;
  for (int k = 17; k >= 1; k -= 2) p = ::fma(p, z, 1.0 / k);
  return ::fma(static_cast<double>(exponent), 0.69314718055994530942, 2.0 * s * p);
}

struct SineCosine {
  double sine, cosine;
};
/// Of `quarter` quarter turns and x, |x| <= pi/4: Taylor.
SHERD_FORMULA SineCosine turn_by(std::uint32_t quarter, double x) {
  const double z = x * x;
  double sine = 1.0, cosine = 1.0;
  for (int k = 16; k >= 2; k -= 2) {
    sine = ::fma(sine * z, -1.0 / (k * (k + 1)), 1.0);
    cosine = ::fma(cosine * z, -1.0 / (k * (k - 1)), 1.0);
  }
  sine *= x;
  const double s = quarter % 2 == 0 ? sine : cosine, c = quarter % 2 == 0 ? cosine : sine;
  return {quarter >= 2 ? -s : s, quarter == 1 || quarter == 2 ? -c : c};
}
/// Of the angle 2π·word / 2^32: reduced to the nearest quarter turn exactly.
SHERD_FORMULA SineCosine turn_of_word(std::uint32_t word) {
  const std::uint32_t quarter = (word + 0x20000000u) >> 30;
  const auto rest = static_cast<std::int32_t>(word - (quarter << 30));
  return turn_by(quarter, static_cast<double>(rest) * (6.28318530717958647693 * 0x1p-32));
}

/// Elements 2q and 2q + 1 of a normal sequence, from words 2q and 2q + 1.
SHERD_FORMULA void normal_pair(std::uint32_t first, std::uint32_t second, double (&pair)[2]) {
  const double radius = ::sqrt(-2.0 * log_of_word(first));
  const SineCosine turn = turn_of_word(second);
  pair[0] = radius * turn.cosine;
  pair[1] = radius * turn.sine;
}

}  // namespace sherd::kernels
