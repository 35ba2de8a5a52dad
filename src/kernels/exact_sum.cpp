#include "sherd/kernels/exact_sum.hpp"

namespace sherd::kernels {

double ExactSum::value() const {
  // Resolve carries upwards so that every limb but the top is in [0, 2^32), then add from the top:
  // each partial sum is the leading digits, so the result does not depend on how the limbs came
  // about.
  std::array<std::int64_t, limbs> digit = limb;
  for (std::size_t i = 0; i + 1 < digit.size(); ++i) {
    const std::int64_t carry = digit[i] >> 32;
    digit[i] -= carry * (std::int64_t{1} << 32);
    digit[i + 1] += carry;
  }
  double sum = 0;
  for (int i = limbs - 1; i >= 0; --i) {
    sum += std::ldexp(static_cast<double>(digit[static_cast<std::size_t>(i)]), 32 * i - 384);
  }
  return sum;
}

}  // namespace sherd::kernels
