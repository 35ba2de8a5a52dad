#pragma once
// The value of an exact sum, shared by every device.
#include "sherd/kernels/exact_sum.hpp"
#include "sherd/kernels/exp_math.hpp"

namespace sherd::kernels {
namespace exact {

__extension__ using Wide = unsigned __int128;

// Base-2^32 digits of |sum| and its sign; the last digit takes the carries of the top limb.
struct Digits {
  std::array<std::int64_t, ExactSum::limbs + 1> at{};
  bool negative = false;
};
SHERD_FORMULA void carry(Digits& digits) {
  for (std::size_t i = 0; i + 1 < digits.at.size(); ++i) {
    const std::int64_t up = digits.at[i] >> 32;
    digits.at[i] -= up * (std::int64_t{1} << 32);
    digits.at[i + 1] += up;
  }
}
SHERD_FORMULA Digits resolve(const ExactSum& sum) {
  Digits digits;
  for (std::size_t i = 0; i < sum.limb.size(); ++i) digits.at[i] = sum.limb[i];
  carry(digits);
  digits.negative = digits.at.back() < 0;
  if (digits.negative) {
    for (std::int64_t& digit : digits.at) digit = -digit;
    carry(digits);
  }
  return digits;
}

}  // namespace exact

/// The sum, rounded once to nearest even.
SHERD_FORMULA double exact_value(const ExactSum& sum) {
  const exact::Digits digits = exact::resolve(sum);
  int top = ExactSum::limbs;
  while (top > 0 && digits.at[static_cast<std::size_t>(top)] == 0) --top;
  // The leading 65 to 96 bits; what lies below only says that there is more.
  exact::Wide leading = 0;
  for (int k = top; k > top - 3; --k) {
    const std::int64_t digit = k >= 0 ? digits.at[static_cast<std::size_t>(k)] : 0;
    leading = (leading << 32) | static_cast<std::uint32_t>(digit);
  }
  bool more = false;
  for (int k = 0; k <= top - 3; ++k) more = more || digits.at[static_cast<std::size_t>(k)] != 0;
  int exponent = 32 * (top - 2) - 384;
  while ((leading >> 64) != 0) {
    more = more || (leading & 1) != 0;
    leading >>= 1;
    ++exponent;
  }
  const std::uint64_t bits = static_cast<std::uint64_t>(leading) | (more ? 1u : 0u);
  const double magnitude = ::ldexp(static_cast<double>(bits), exponent);
  return digits.negative ? -magnitude : magnitude;
}

}  // namespace sherd::kernels
