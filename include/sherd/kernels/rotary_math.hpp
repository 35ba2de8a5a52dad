#pragma once
// Angles of a rotary embedding in fp64, and the rotation of one pair, shared by every device.
// Source: Su et al. 2021, "RoFormer", §3.4.2.
#include "sherd/kernels/normal_math.hpp"
#include "sherd/kernels/rotary.hpp"

namespace sherd::kernels {

/// Radians a position of pair `pair`, on the host.
///
/// **Source** transformers 4.57, modeling_rope_utils.py, whose fp32 it is the fp64 of.
[[nodiscard]] inline double rotary_frequency(const Rotary& r, std::int64_t head_dim,
                                             std::int64_t pair) {
  constexpr double whole_turn = 6.28318530717958647693;
  const double plain =
      std::pow(r.theta, -2.0 * static_cast<double>(pair) / static_cast<double>(head_dim));
  if (r.scaling == RotaryScaling::none) return plain;
  const double slow = plain / r.factor;
  const double turns = r.original_context * plain / whole_turn;  // over the old context
  if (r.scaling == RotaryScaling::linear || turns < r.low_freq_factor) return slow;
  if (turns > r.high_freq_factor) return plain;
  const double share = (turns - r.low_freq_factor) / (r.high_freq_factor - r.low_freq_factor);
  return (1 - share) * slow + share * plain;
}
struct RotaryFrequencies {
  double at[largest_rotary_head / 2];
};
[[nodiscard]] inline RotaryFrequencies rotary_frequencies(const Rotary& r, std::int64_t head_dim) {
  RotaryFrequencies all{};
  for (std::int64_t i = 0; i < head_dim / 2; ++i) all.at[i] = rotary_frequency(r, head_dim, i);
  return all;
}

struct Turn {
  float cosine, sine;
};
/// Of position·frequency radians, within 2^-24 for angles below 2^28: reduced to a quarter turn
/// with pi/2 in two parts (Cody & Waite 1980).
SHERD_FORMULA Turn rotary_turn(double position, double frequency) {
  constexpr double magic = 6755399441055744.0;  // 1.5·2^52: adding it rounds to an integer
  const double angle = position * frequency;
  const double shifted = ::fma(angle, 0.63661977236758134308, magic);  // in quarter turns
  const double n = shifted - magic;
  const double high = ::fma(n, -1.57079632679489661923, angle);
  const double x = ::fma(n, -6.12323399573676603587e-17, high);
  const auto quarter = static_cast<std::uint32_t>(std::bit_cast<std::uint64_t>(shifted)) & 3u;
  const SineCosine turn = turn_by(quarter, x);
  return {static_cast<float>(turn.cosine), static_cast<float>(turn.sine)};
}

struct Pair {
  float first, second;
};
SHERD_FORMULA Pair rotate(Pair x, Turn by) {
  return {::fmaf(x.first, by.cosine, -(x.second * by.sine)),
          ::fmaf(x.second, by.cosine, x.first * by.sine)};
}
/// The inverse, which is the transpose.
SHERD_FORMULA Pair rotate_back(Pair x, Turn by) { return rotate(x, {by.cosine, -by.sine}); }

}  // namespace sherd::kernels
