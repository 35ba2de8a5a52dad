#include "sherd/base/dtype.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>

using namespace sherd;

namespace {

struct Format {
  int mantissa_bits, least_exponent, greatest_exponent;
};
constexpr Format half{10, -14, 15}, brain{7, -126, 127};

// The value of a bit pattern by its definition, in fp64.
double value_of(std::uint16_t bits, Format f) {
  const int m = bits & ((1 << f.mantissa_bits) - 1);
  const int e = (bits & 0x7fff) >> f.mantissa_bits;
  const int special = 2 * f.greatest_exponent + 1;
  double value = 0;
  if (e == special) {
    value =
        m == 0 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  } else if (e == 0) {
    value = std::ldexp(m, f.least_exponent - f.mantissa_bits);
  } else {
    value = std::ldexp(m + (1 << f.mantissa_bits), e - f.greatest_exponent - f.mantissa_bits);
  }
  return (bits & 0x8000) != 0 ? -value : value;
}

// Round to nearest even by its definition, in fp64 (whose own rounding mode is that one).
double nearest(double x, Format f) {
  if (x == 0 || !std::isfinite(x)) return x;
  const int exponent = std::max(std::ilogb(x), f.least_exponent);
  const double ulp = std::ldexp(1, exponent - f.mantissa_bits);
  const double rounded = std::nearbyint(x / ulp) * ulp;
  const double greatest = std::ldexp(2 - std::ldexp(1, -f.mantissa_bits), f.greatest_exponent);
  if (std::abs(rounded) <= greatest) return rounded;
  return std::copysign(std::numeric_limits<double>::infinity(), x);
}

bool same(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return a == b && std::signbit(a) == std::signbit(b);
}

// Every sign, exponent and leading mantissa of f32, with the trailing bits around every tie.
template <class Check>
int count_wrong(int kept_bits, Check check) {
  const std::uint32_t dropped = 23u - static_cast<std::uint32_t>(kept_bits);
  const std::uint32_t tie = 1u << (dropped - 1);
  const std::array<std::uint32_t, 6> tails = {0, 1, tie - 1, tie, tie + 1, 2 * tie - 1};
  int wrong = 0;
  for (std::uint32_t head = 0; head < (1u << (32 - dropped)); ++head) {
    for (const std::uint32_t tail : tails) {
      if (!check(std::bit_cast<float>((head << dropped) | tail))) ++wrong;
    }
  }
  return wrong;
}

}  // namespace

TEST_CASE("All 65536 fp16 values widen to what their bits define") {
  int wrong = 0;
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const float16 x{static_cast<std::uint16_t>(bits)};
    if (!same(to_float(x), value_of(x.bits, half))) ++wrong;
  }
  CHECK(wrong == 0);
}

TEST_CASE("All 65536 bf16 values widen to what their bits define") {
  int wrong = 0;
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const bfloat16 x{static_cast<std::uint16_t>(bits)};
    if (!same(to_float(x), value_of(x.bits, brain))) ++wrong;
  }
  CHECK(wrong == 0);
}

TEST_CASE("All 16-bit values survive widening and rounding back") {
  int wrong = 0;
  for (std::uint32_t all = 0; all < 65536; ++all) {
    const auto bits = static_cast<std::uint16_t>(all);
    const float h = to_float(float16{bits}), b = to_float(bfloat16{bits});
    const std::uint16_t half_back = to_float16(h).bits, brain_back = to_bfloat16(b).bits;
    if (std::isnan(h) ? !std::isnan(to_float(float16{half_back})) : half_back != bits) ++wrong;
    if (std::isnan(b) ? !std::isnan(to_float(bfloat16{brain_back})) : brain_back != bits) ++wrong;
  }
  CHECK(wrong == 0);
}

TEST_CASE("fp16 rounds to nearest even at every exponent, subnormals and overflow included") {
  CHECK(count_wrong(10, [](float x) { return same(to_float(to_float16(x)), nearest(x, half)); }) ==
        0);
}

TEST_CASE("bf16 rounds to nearest even at every exponent, subnormals and overflow included") {
  CHECK(count_wrong(7, [](float x) { return same(to_float(to_bfloat16(x)), nearest(x, brain)); }) ==
        0);
}

TEST_CASE("fp16 rounds ties of subnormals to even") {
  // k + 1/2 units of 2^-24, and one f32 step to either side.
  int wrong = 0;
  for (int k = 0; k < 1024; ++k) {
    const float tie = std::ldexp(static_cast<float>(k) + 0.5f, -24);
    for (const float x : {std::nextafter(tie, 0.0f), tie, std::nextafter(tie, 1.0f)}) {
      if (!same(to_float(to_float16(x)), nearest(x, half))) ++wrong;
      if (!same(to_float(to_float16(-x)), nearest(-x, half))) ++wrong;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("The edges of fp16 are where the standard puts them") {
  CHECK(to_float16(65504.0f).bits == 0x7bff);
  CHECK(to_float16(std::nextafter(65520.0f, 0.0f)).bits == 0x7bff);
  CHECK(to_float16(65520.0f).bits == 0x7c00);
  CHECK(to_float16(-65520.0f).bits == 0xfc00);
  CHECK(to_float16(0x1p-24f).bits == 0x0001);
  CHECK(to_float16(0x1p-25f).bits == 0x0000);
  CHECK(to_float16(std::nextafter(0x1p-25f, 1.0f)).bits == 0x0001);
  CHECK(to_float16(-0x1p-25f).bits == 0x8000);
  CHECK(to_float16(std::numeric_limits<float>::denorm_min()).bits == 0x0000);
}

TEST_CASE("NaN stays a NaN whatever its payload") {
  for (const std::uint32_t bits : {0x7f800001u, 0x7fc00000u, 0x7fffffffu, 0xff800001u}) {
    const auto nan = std::bit_cast<float>(bits);
    CHECK(std::isnan(to_float(to_bfloat16(nan))));
    CHECK(std::isnan(to_float(to_float16(nan))));
    CHECK(std::isnan(to_float(to_bfloat16_stochastic(nan, 0xffff))));
  }
}

TEST_CASE("Stochastic rounding goes up exactly as often as the dropped bits say") {
  for (const std::uint32_t bits :
       {0x3f800000u, 0x3f800001u, 0x3f808000u, 0xc1234567u, 0x0000ffffu}) {
    const auto x = std::bit_cast<float>(bits);
    std::uint32_t up = 0, other = 0;
    for (std::uint32_t random = 0; random < 65536; ++random) {
      const std::uint16_t rounded = to_bfloat16_stochastic(x, random).bits;
      up += rounded == (bits >> 16) + 1 ? 1u : 0u;
      other += rounded != (bits >> 16) + 1 && rounded != bits >> 16 ? 1u : 0u;
    }
    CHECK(up == (bits & 0xffff));
    CHECK(other == 0);
  }
  CHECK(to_bfloat16_stochastic(std::numeric_limits<float>::infinity(), 0xffff).bits == 0x7f80);
  CHECK(to_bfloat16_stochastic(-std::numeric_limits<float>::infinity(), 0xffff).bits == 0xff80);
}

TEST_CASE("Every type has its size and its name") {
  CHECK(size_of(DType::f64) == sizeof(double));
  CHECK(size_of(DType::f32) == sizeof(float));
  CHECK(size_of(DType::bf16) == sizeof(bfloat16));
  CHECK(size_of(DType::f16) == sizeof(float16));
  CHECK(size_of(DType::i8) == 1);
  CHECK(name_of(DType::f32) == "fp32");
  CHECK(name_of(DType::bf16) == "bf16");
  CHECK(name_of(DType::f16) == "fp16");
  CHECK(name_of(DType::i64) == "i64");
  CHECK(name_of(DType::u8) == "u8");
}
