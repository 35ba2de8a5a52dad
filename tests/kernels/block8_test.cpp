#include "sherd/kernels/block8_math.hpp"

#include <doctest/doctest.h>

#include <limits>

#include "kernels/update_state.hpp"

using namespace sherd;
using namespace sherd::kernels;
using test::published;

namespace {

std::uint8_t encode(bool is_signed, float x, float inverse) {
  return is_signed ? encode_m(x, inverse, signed8) : encode_v(x, inverse, unsigned8);
}
float decode(bool is_signed, std::uint8_t code, float scale) {
  return is_signed ? decode_m(code, scale, signed8) : decode_v(code, scale, unsigned8);
}

/// How much further than the nearest code the chosen one is, relative to x; a positive second
/// moment may not take zero.
double excess(bool is_signed, float x) {
  const std::vector<double>& map = published(is_signed);
  const auto value = static_cast<double>(x);
  const double got = map[test::position_of(encode(is_signed, x, block8_inverse(1)), is_signed)];
  const auto from = map.begin() + (is_signed || x == 0 ? 0 : 1);
  const auto above = std::lower_bound(from, map.end(), value);
  double best = above == map.end() ? 1 : *above - value;
  if (above != from) best = std::min(best, value - *(above - 1));
  return x == 0 ? std::abs(got) : (std::abs(got - value) - best) / std::abs(value);
}

}  // namespace

TEST_CASE("the 256 codes decode to the published map of each kind") {
  for (const bool is_signed : {false, true}) {
    const std::vector<double>& map = published(is_signed);
    REQUIRE(map.size() == 256);
    for (unsigned code = 0; code < 256; ++code) {
      const double want = map[test::position_of(static_cast<std::uint8_t>(code), is_signed)];
      const auto got = static_cast<double>(decode(is_signed, static_cast<std::uint8_t>(code), 1));
      REQUIRE(std::abs(got - want) <= 1e-6 * std::abs(want));
    }
    CHECK(decode(is_signed, 0, 1) == 0);
    CHECK(decode(is_signed, is_signed ? 128 : 255, 3) == 3);  // the largest element is exact
  }
}

TEST_CASE("every code's own value gets that code back at any scale") {
  for (const bool is_signed : {false, true}) {
    for (const float scale : {1.0f, 0.37f, 1e-30f, 3.1e37f, 1.2e-38f}) {
      for (unsigned i = 0; i < 256; ++i) {
        const auto code = static_cast<std::uint8_t>(i);
        const float x = decode(is_signed, code, scale);
        if (std::abs(x) < std::numeric_limits<float>::min()) continue;
        REQUIRE(encode(is_signed, x, block8_inverse(scale)) == code);
      }
    }
  }
}

TEST_CASE(
    "the chosen code is the nearest one, by brute force around all midpoints and in between") {
  for (const bool is_signed : {false, true}) {
    const std::vector<double>& map = published(is_signed);
    double worst = 0;
    const auto visit = [&](std::int64_t bits) {
      const auto x = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
      worst = std::max(worst, excess(is_signed, x));
      if (is_signed) worst = std::max(worst, excess(true, -x));
    };
    for (std::size_t i = 1; i < map.size(); ++i) {  // an unsigned code's lower midpoint may be 0
      const auto middle = static_cast<float>(std::abs(map[i] + map[i - 1]) / 2);
      const auto at = static_cast<std::int64_t>(std::bit_cast<std::uint32_t>(middle));
      for (std::int64_t k = std::max<std::int64_t>(at - 200, 0); k <= at + 200; ++k) visit(k);
    }
    for (std::int64_t bits = 0; bits <= 0x3f800000; bits += 1009) visit(bits);
    CHECK(worst < 2e-6);  // halfway within fp32's rounding
  }
}

TEST_CASE("a positive second moment is never stored as zero, and zero always is") {
  for (const float v : {1e-7f, 1e-9f, 1e-20f, 1e-37f}) {
    CHECK(encode_v(v, block8_inverse(1), unsigned8) == 1);
    CHECK(decode_v(encode_v(v, block8_inverse(1), unsigned8), 1, unsigned8) >= v);
  }
  CHECK(encode_v(0, 1, unsigned8) == 0);
  CHECK(encode_m(0, 1, signed8) == 0);
  CHECK(encode_m(-0.0f, 1, signed8) == 0);
  CHECK(encode_m(-1e-9f, 1, signed8) == 0);
}

TEST_CASE("a block's scale shows broken elements, and is zero without a normal one") {
  const auto scale_of = [](float x) {
    return block8_scale(std::bit_cast<std::uint32_t>(x) & 0x7fffffffu);
  };
  CHECK(scale_of(-2.5f) == 2.5f);
  CHECK(scale_of(0) == 0);
  CHECK(scale_of(1e-39f) == 0);
  CHECK(std::isnan(scale_of(std::numeric_limits<float>::infinity())));
  CHECK(std::isnan(scale_of(std::numeric_limits<float>::quiet_NaN())));
  CHECK(block8_inverse(scale_of(std::numeric_limits<float>::quiet_NaN())) == 0);
  for (unsigned i = 0; i < 256; ++i) {
    const auto code = static_cast<std::uint8_t>(i);
    CHECK(decode_v(code, 0, unsigned8) == 0);
    CHECK(decode_m(code, 0, signed8) == 0);
  }
}
