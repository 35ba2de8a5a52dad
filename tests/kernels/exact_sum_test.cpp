#include "sherd/kernels/exact_sum.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <vector>

using sherd::kernels::ExactSum;

namespace {

double sum_of(const std::vector<double>& terms) {
  ExactSum sum;
  for (const double term : terms) sum.add(term);
  return sum.value();
}
// Multiples of 2^-40 below 2^20: their sum is exact in 128 bits.
__extension__ using Wide = __int128;
double rounded(Wide units) {
  return static_cast<double>(units) * 0x1p-40;  // one rounding: the scale is a power of two
}

}  // namespace

TEST_CASE("an exact sum returns any single term in its range unchanged") {
  std::mt19937_64 bits(7);
  std::uniform_int_distribution<int> exponent(-330, 350);
  std::uniform_real_distribution<double> mantissa(1, 2);
  for (int i = 0; i < 20000; ++i) {
    const double x = std::ldexp(mantissa(bits), exponent(bits)) * (i % 2 == 0 ? 1 : -1);
    REQUIRE(sum_of({x}) == x);
  }
  for (const double x : {0x1p-330, 0x1.fffffffffffffp-330, 0x1p350, 0x1.fffffffffffffp350, 1.0}) {
    CHECK(sum_of({x}) == x);
    CHECK(sum_of({-x}) == -x);
  }
  CHECK(sum_of({}) == 0);
  CHECK(sum_of({0.0, -0.0}) == 0);
  CHECK(sum_of({0x1p-400}) == 0);  // below the grid
  CHECK(sum_of({std::numeric_limits<double>::denorm_min()}) == 0);
}

TEST_CASE("an exact sum of many terms equals 128-bit integer arithmetic rounded once") {
  std::mt19937_64 bits(11);
  std::uniform_int_distribution<std::int64_t> unit(-(std::int64_t{1} << 53), std::int64_t{1} << 53);
  std::uniform_int_distribution<int> shift(0, 50);
  for (int round = 0; round < 400; ++round) {
    std::vector<double> terms;
    Wide exact = 0;
    for (int i = 0; i < 1 + round; ++i) {
      const std::int64_t units = unit(bits) >> shift(bits);
      exact += units;
      terms.push_back(static_cast<double>(units) * 0x1p-40);
    }
    REQUIRE(sum_of(terms) == rounded(exact));
  }
}

TEST_CASE("an exact sum rounds to nearest even, once") {
  CHECK(sum_of({1.0, 0x1p-53}) == 1.0);                      // a tie goes to even
  CHECK(sum_of({1.0, 0x1p-53, 0x1p-330}) == 1.0 + 0x1p-52);  // a crumb far below breaks it
  CHECK(sum_of({1.0, 0x1p-53, -0x1p-330}) == 1.0);
  CHECK(sum_of({1.0 + 0x1p-52, 0x1p-53}) == 1.0 + 0x1p-51);  // the other tie
  CHECK(sum_of({-1.0, -0x1p-53, -0x1p-330}) == -1.0 - 0x1p-52);
  CHECK(sum_of({0x1p350, 0x1p-330, -0x1p350}) == 0x1p-330);  // nothing is ever lost
  CHECK(sum_of({0x1p350, -0x1p-330}) == 0x1p350);
  CHECK(sum_of({0x1p350, 1.0, -0x1p350, -1.0}) == 0);
  CHECK(sum_of({1.0, -0x1p-330}) == 1.0);
}

TEST_CASE("an exact sum depends neither on the order of terms nor on how they are split") {
  std::mt19937_64 bits(13);
  std::uniform_int_distribution<int> exponent(-300, 300);
  std::uniform_real_distribution<double> mantissa(-2, 2);
  std::vector<double> terms(999);
  for (double& term : terms) term = std::ldexp(mantissa(bits), exponent(bits));
  ExactSum whole;
  for (const double term : terms) whole.add(term);
  for (int round = 0; round < 50; ++round) {
    std::shuffle(terms.begin(), terms.end(), bits);
    ExactSum parts[3];
    for (std::size_t i = 0; i < terms.size(); ++i) parts[bits() % 3].add(terms[i]);
    ExactSum merged;
    for (const ExactSum& part : parts) merged.add(part);
    REQUIRE(merged.limb == whole.limb);
    REQUIRE(merged.value() == whole.value());
  }
}

TEST_CASE("an exact sum reads the same value whatever carries its limbs still hold") {
  // 2^30 equal terms, formed by doubling accumulators: every limb near its capacity.
  for (const double x : {0x1.fffffffffffffp-300, -0x1.fffffffffffffp0, 0x1.123456789abcdp350}) {
    ExactSum sum;
    sum.add(x);
    for (int i = 0; i < 30; ++i) {
      const ExactSum half = sum;
      sum.add(half);
    }
    CHECK(sum.value() == std::ldexp(x, 30));
  }
}

TEST_CASE("an exact sum of squares of the extreme fp32 values is exact") {
  const double least = 0x1p-298, most = std::ldexp(static_cast<double>(0xffffff), 104);
  CHECK(sum_of({least}) == least);  // (2^-149)², the square of the smallest fp32
  CHECK(sum_of({most * most, -most * most, least}) == least);
  CHECK(sum_of(std::vector<double>(1024, most * most)) == 1024 * (most * most));
}
