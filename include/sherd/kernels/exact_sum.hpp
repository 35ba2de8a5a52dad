#pragma once
// Sums of doubles that no order, split or number of ranks can change.
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

namespace sherd::kernels {

/// Fixed-point accumulator: limb i weighs 2^(32 i - 384), carries are resolved when read. Limbs are
/// plain int64, so a sum of accumulators is the element-wise sum, in any order. Holds 2^30 terms of
/// magnitude 2^-330 … 2^350; smaller ones count as zero.
struct ExactSum {
  static constexpr int limbs = 24;
  std::array<std::int64_t, limbs> limb{};

  /// `x` finite.
  constexpr void add(double x) {
    const auto u = std::bit_cast<std::uint64_t>(x);
    const int exponent = static_cast<int>((u >> 52) & 0x7ff);
    const int bit = exponent - 1075 + 384;
    if (bit < 0 || (bit >> 5) + 2 >= limbs)
      return;  // below the grid (or above what fp32 squares reach)
    const std::uint64_t mantissa = (u & ((std::uint64_t{1} << 52) - 1)) | (std::uint64_t{1} << 52);
    __extension__ using Wide = unsigned __int128;
    const Wide value = static_cast<Wide>(mantissa) << (bit & 31);
    const std::int64_t sign = (u >> 63) != 0 ? -1 : 1;
    for (int k = 0; k < 3; ++k) {
      limb[static_cast<std::size_t>((bit >> 5) + k)] +=
          sign * static_cast<std::int64_t>(static_cast<std::uint32_t>(value >> (32 * k)));
    }
  }
  constexpr void add(const ExactSum& other) {
    for (std::size_t i = 0; i < limb.size(); ++i) limb[i] += other.limb[i];
  }
  /// The sum, rounded once to nearest even.
  [[nodiscard]] double value() const;
};

/// What a head adds to for each chunk of rows; all integers, so ranks sum it exactly.
struct LossSum {
  ExactSum loss;               // of the token losses, unscaled
  std::int64_t tokens = 0;     // counted labels
  std::int64_t nonfinite = 0;  // chunks whose loss was not finite
};

/// Squared norm of (scaled) gradients and what must stop the update.
struct NormSum {
  ExactSum squares;
  std::int64_t nonfinite = 0;  // elements that are inf or NaN
};

}  // namespace sherd::kernels
