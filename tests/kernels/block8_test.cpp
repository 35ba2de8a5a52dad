#include "sherd/kernels/block8_math.hpp"

#include <doctest/doctest.h>

#include <limits>

#include "kernels/update_state.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/kernels/block8.hpp"

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

TEST_CASE("whole blocks are the nearest codes of the published map, and their values come back") {
  device::Stream stream(2);
  for (const std::int64_t n : {256, 70 * 256}) {
    const auto value = [](std::int64_t i) {
      return i / 256 % 5 == 3
                 ? 0
                 : std::pow(10.0, static_cast<double>(i / 256 % 7) - 4) * test::noise(9)(i);
    };
    test::Cells values(n, DType::f32, true, value);
    test::Cells want(n, DType::q8, true, [&](std::int64_t i) { return values[i]; });
    test::Cells blocks(n, DType::q8, true, [](std::int64_t) { return 1.0; });
    kernels::encode_blocks(values.view(0, n), blocks.view(0, n), stream);
    CHECK(blocks == want);
    for (const DType type : test::float_types) {
      test::Cells out(n, type, true, [](std::int64_t) { return 1.0; });
      kernels::decode_blocks(blocks.view(0, n), out.view(0, n), stream);
      CHECK(out.guarded());
      std::int64_t wrong = 0, far = 0;
      for (std::int64_t i = 0; i < n; ++i) {
        const auto code =
            static_cast<std::uint8_t>(blocks.view(0, n).data[i / 256 * 260 + i % 256]);
        const float exact = decode_m(code, static_cast<float>(blocks.scale(i / 256)), signed8);
        far += std::abs(static_cast<double>(exact) - want[i]) > 1e-6 * std::abs(want[i]) ? 1 : 0;
        if (type == DType::f32) wrong += out.raw<float>(i) != exact ? 1 : 0;
        if (type == DType::bf16)
          wrong += out.raw<std::uint16_t>(i) != to_stored_bfloat16(exact).bits ? 1 : 0;
        if (type == DType::f16)
          wrong += out.raw<std::uint16_t>(i) != to_float16(exact).bits ? 1 : 0;
      }
      CHECK(wrong == 0);
      CHECK(far == 0);
    }
  }
}

TEST_CASE("blocks cut short, of other types or off their places are refused") {
  device::Stream stream(1);
  test::Cells values(512, DType::f32, true, test::noise(1));
  test::Cells blocks(512, DType::q8, true, test::noise(1)), out = values;
  CHECK_THROWS_AS(kernels::encode_blocks(values.view(0, 255), blocks.view(0, 255), stream),
                  UsageError);
  CHECK_THROWS_AS(kernels::encode_blocks(values.view(0, 256), blocks.view(0, 512), stream),
                  UsageError);
  CHECK_THROWS_AS(kernels::decode_blocks(values.view(0, 256), out.view(0, 256), stream),
                  UsageError);
  CHECK_THROWS_AS(kernels::decode_blocks(blocks.view(0, 256), out.view(0, 512), stream),
                  UsageError);
  View odd = blocks.view(0, 256);
  odd.data += 1;
  CHECK_THROWS_AS(kernels::decode_blocks(odd, out.view(0, 256), stream), UsageError);
  CHECK(out == values);
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
