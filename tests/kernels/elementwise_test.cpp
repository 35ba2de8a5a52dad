#include "sherd/kernels/elementwise.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "kernels/array.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/kernels/exp_math.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

constexpr std::int64_t sizes[] = {0, 1, 7, 255, 256, 257, 33 * 72, 40000};
constexpr double root = 0.79788456080286535588;

double gelu_reference(double x) {
  return 0.5 * x * (1 + std::tanh(root * (x + 0.044715 * x * x * x)));
}
bool close(double got, double want, DType type, double slack = 4e-6) {
  return std::abs(got - want) <= (half_ulp(type) + slack) * std::abs(want) + 1e-7;
}

}  // namespace

TEST_CASE("exp in fp32 stays within two units in the last place of fp64") {
  double worst = 0;
  for (float x = -86.5f; x < 88.7f; x += 0.0137f) {
    const double want = std::exp(static_cast<double>(x));
    worst = std::max(worst, std::abs(static_cast<double>(kernels::exp_f32(x)) / want - 1));
  }
  CHECK(worst < 2 * 0x1p-23);
  CHECK(kernels::exp_f32(0.0f) == 1.0f);
  CHECK(kernels::exp_f32(-87.0f) == 0.0f);
  CHECK(kernels::exp_f32(-INFINITY) == 0.0f);
  CHECK(std::isinf(kernels::exp_f32(89.0f)));
  CHECK(std::isinf(kernels::exp_f32(INFINITY)));
  CHECK(std::isnan(kernels::exp_f32(NAN)));
}

TEST_CASE("gelu equals its fp64 definition for every type and size") {
  device::Stream stream(1);
  for (const DType type : float_types) {
    for (const std::int64_t n : sizes) {
      Array in({1, n}, type, noise(1, 6)), out({1, n}, type);
      kernels::gelu(in.view(), out.view(), stream);
      bool good = out.guarded();
      for (std::int64_t i = 0; i < n; ++i)
        good = good && close(out[i], gelu_reference(in[i]), type);
      CHECK_MESSAGE(good, name_of(type) << " n=" << n);
      kernels::gelu(in.view(), in.view(), stream);
      CHECK(in == out);
    }
  }
}

TEST_CASE("gelu backward equals a central difference of the fp64 definition") {
  device::Stream stream(1);
  for (const DType type : float_types) {
    const std::int64_t n = 2377;
    Array in({1, n}, type, noise(1, 6)), d_out({1, n}, type, noise(2)), d_in({1, n}, type);
    kernels::gelu_backward(in.view(), d_out.view(), d_in.view(), stream);
    for (std::int64_t i = 0; i < n; ++i) {
      const double h = 1e-5;
      const double slope = (gelu_reference(in[i] + h) - gelu_reference(in[i] - h)) / (2 * h);
      const double want = slope * d_out[i];
      REQUIRE(std::abs(d_in[i] - want) <= half_ulp(type) * std::abs(want) + 1e-6);
    }
    kernels::gelu_backward(in.view(), d_out.view(), d_out.view(), stream);
    CHECK(d_out == d_in);
    CHECK(d_in.guarded());
  }
}

TEST_CASE("add rounds the fp32 sum once, and its result may be an operand") {
  device::Stream stream(1);
  for (const DType type : float_types) {
    for (const std::int64_t n : sizes) {
      Array a({1, n}, type, noise(1)), b({1, n}, DType::f32, noise(2)), out({1, n}, type);
      Array want({1, n}, type, [&](std::int64_t i) {
        return static_cast<double>(static_cast<float>(a[i]) + static_cast<float>(b[i]));
      });
      kernels::add(a.view(), b.view(), out.view(), stream);
      CHECK(out == want);
      kernels::add(a.view(), b.view(), a.view(), stream);
      CHECK(a == want);
    }
  }
}

TEST_CASE("cast agrees with the scalar conversions bit for bit, for specials too") {
  device::Stream stream(1);
  const std::int64_t n = 1 << 16;
  for (const DType type : {DType::bf16, DType::f16}) {
    Array all({1, n}, type);
    for (std::int64_t i = 0; i < n; ++i)
      all.view().as<std::uint16_t>()[i] = static_cast<std::uint16_t>(i);
    Array wide({1, n}, DType::f32);
    kernels::cast(all.view(), wide.view(), stream);
    for (std::int64_t i = 0; i < n; ++i) {
      const double want = all[i];
      REQUIRE((wide[i] == want || (std::isnan(wide[i]) && std::isnan(want))));
    }
    // Neighbours and midpoints of every 16-bit value, where roundings differ.
    for (const std::uint32_t low : {0u, 1u, 0xfffu, 0x1000u, 0x1001u, 0x7fffu, 0x8000u, 0x8001u}) {
      Array from({1, n}, DType::f32), to({1, n}, type);
      for (std::int64_t i = 0; i < n; ++i)
        from.view().as<std::uint32_t>()[i] = (static_cast<std::uint32_t>(i) << 16) | low;
      kernels::cast(from.view(), to.view(), stream);
      for (std::int64_t i = 0; i < n; ++i) {
        const float x = from.view().as<float>()[i];
        const std::uint16_t want = type == DType::bf16 ? to_bfloat16(x).bits : to_float16(x).bits;
        REQUIRE(to.view().as<std::uint16_t>()[i] == want);
      }
    }
  }
}

TEST_CASE("stochastic rounding is unbiased, keeps exact values and follows the element's bits") {
  device::Stream stream(1);
  const std::int64_t n = 1 << 18;
  const double value = 1.0 + 0.3 / 128;  // three tenths of the way to the next bf16
  Array in({1, n}, DType::f32, [&](std::int64_t) { return value; }), out({1, n}, DType::bf16);
  const Philox bits = philox(5, Purpose::gradient_rounding, {1});
  kernels::cast(in.view(), out.view(), stream, &bits);
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const auto word = philox_u32(bits, static_cast<std::uint64_t>(i));
    const auto want = to_bfloat16_stochastic(static_cast<float>(value), word);
    REQUIRE(out.view().as<std::uint16_t>()[i] == want.bits);
    sum += out[i];
  }
  CHECK(std::abs(sum / static_cast<double>(n) - value) < 5 * 0.46 / 128 / 512);
  Array exact({1, n}, DType::bf16, noise(3)), same({1, n}, DType::bf16);
  kernels::cast(exact.view(), same.view(), stream, &bits);
  CHECK(exact == same);
}

TEST_CASE("dropout keeps the stated share, rescales it, and repeats itself from the same bits") {
  device::Stream stream(1);
  const std::int64_t n = 100003;
  for (const float p : {0.1f, 0.5f, 0.9f}) {
    Array branch({1, n}, DType::f32, [](std::int64_t) { return 1.0; });
    Array residual({1, n}, DType::f32, noise(4)), out({1, n}, DType::f32);
    const Philox bits = philox(1, Purpose::dropout, {3, 4});
    kernels::dropout({branch.view(), {}, out.view(), p, bits}, stream);
    const double keep = 1 - static_cast<double>(p);
    double kept = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      const bool stays = philox_uniform(bits, static_cast<std::uint64_t>(i)) >= p;
      REQUIRE(std::abs(out[i] - (stays ? 1 / keep : 0)) < 1e-5);
      kept += stays ? 1 : 0;
    }
    CHECK(std::abs(kept / static_cast<double>(n) - keep) < 6 * std::sqrt(0.25 / 1e5));
    Array summed({1, n}, DType::f32);
    kernels::dropout({branch.view(), residual.view(), summed.view(), p, bits}, stream);
    for (std::int64_t i = 0; i < n; ++i) {
      REQUIRE(summed[i] ==
              static_cast<double>(static_cast<float>(residual[i]) + static_cast<float>(out[i])));
    }
    kernels::dropout({branch.view(), residual.view(), residual.view(), p, bits}, stream);
    CHECK(residual == summed);
    kernels::dropout({branch.view(), {}, branch.view(), p, bits}, stream);
    CHECK(branch == out);
  }
}

TEST_CASE("dropout at zero is a plain sum or copy") {
  device::Stream stream(1);
  Array branch({3, 85}, DType::bf16, noise(1)), residual({3, 85}, DType::bf16, noise(2));
  Array sum({3, 85}, DType::bf16), out({3, 85}, DType::bf16);
  kernels::add(residual.view(), branch.view(), sum.view(), stream);
  kernels::dropout({branch.view(), residual.view(), out.view(), 0, {}}, stream);
  CHECK(out == sum);
  kernels::dropout({branch.view(), {}, out.view(), 0, {}}, stream);
  CHECK(out == branch);
}

TEST_CASE("scale and zero touch every element and no other byte") {
  device::Stream stream(2);
  for (const std::int64_t n : sizes) {
    Array x({1, n}, DType::f32, noise(1));
    Array want({1, n}, DType::f32, [&](std::int64_t i) {
      return static_cast<double>(static_cast<float>(x[i]) * 3.7f);
    });
    kernels::scale(x.view(), 3.7f, stream);
    CHECK(x == want);
    kernels::zero(x.view().raw(), stream);
    for (std::int64_t i = 0; i < n; ++i) REQUIRE(x[i] == 0);
    CHECK(x.guarded());
  }
}

TEST_CASE("accumulate sets or adds in fp32, and rounds to bf16 by the element's bits") {
  device::Stream stream(1);
  const std::int64_t n = 5003;
  const Philox bits = philox(9, Purpose::gradient_rounding, {2});
  for (const DType type : {DType::f32, DType::bf16}) {
    for (const Write mode : {Write::set, Write::add}) {
      Array value({1, n}, DType::f32, noise(1)), to({1, n}, type, noise(2));
      const Array before = to;
      kernels::accumulate(value.view(), {to.view(), mode, bits}, stream);
      for (std::int64_t i = 0; i < n; ++i) {
        const auto there = static_cast<float>(mode == Write::add ? before[i] : 0);
        const float sum = there + static_cast<float>(value[i]);
        const auto word = philox_u32(bits, static_cast<std::uint64_t>(i));
        const float want = type == DType::f32 ? sum : to_float(to_bfloat16_stochastic(sum, word));
        REQUIRE(to[i] == static_cast<double>(want));
      }
    }
  }
}

TEST_CASE("fill_normal draws a standard normal whose elements do not depend on the cut") {
  device::Stream stream(1);
  const std::int64_t n = 200001;
  const Philox bits = philox(3, Purpose::init, {1});
  Array x({1, n}, DType::f32);
  kernels::fill_normal(x.view(), 0, 0, 1, bits, stream);
  double moments[5] = {};
  for (std::int64_t i = 0; i < n; ++i) {
    for (int k = 1; k < 5; ++k) moments[k] += std::pow(x[i], k) / static_cast<double>(n);
  }
  const double sigma = 1 / std::sqrt(static_cast<double>(n));
  CHECK(std::abs(moments[1]) < 5 * sigma);
  CHECK(std::abs(moments[2] - 1) < 5 * std::sqrt(2.0) * sigma);
  CHECK(std::abs(moments[3]) < 5 * std::sqrt(15.0) * sigma);
  CHECK(std::abs(moments[4] - 3) < 5 * std::sqrt(96.0) * sigma);
  double neighbours = 0;
  for (std::int64_t i = 0; i + 1 < n; i += 2) neighbours += x[i] * x[i + 1];
  CHECK(std::abs(neighbours / static_cast<double>(n / 2)) < 5 * 1.42 * sigma);

  for (const std::int64_t first : {1, 2, 255, 777, 16385}) {
    Array part({1, 1000}, DType::f32);
    kernels::fill_normal(part.view(), static_cast<std::uint64_t>(first), 0, 1, bits, stream);
    for (std::int64_t i = 0; i < 1000; ++i) REQUIRE(part[i] == x[first + i]);
  }
  Array moved({1, 1000}, DType::f32);
  kernels::fill_normal(moved.view(), 0, 2, 0.5f, bits, stream);
  for (std::int64_t i = 0; i < 1000; ++i) REQUIRE(std::abs(moved[i] - (2 + x[i] / 2)) < 1e-6);
}

TEST_CASE("fill_normal is the Box-Muller pair of its words") {
  device::Stream stream(1);
  const Philox bits = philox(4, Purpose::init, {2});
  Array x({1, 4001}, DType::f32);
  kernels::fill_normal(x.view(), 0, 0, 1, bits, stream);
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    const auto pair = static_cast<std::uint64_t>(i / 2 * 2);
    const double u = (static_cast<double>(philox_u32(bits, pair)) + 1) / 4294967296.0;
    const double angle = 2 * M_PI * static_cast<double>(philox_u32(bits, pair + 1)) / 4294967296.0;
    const double radius = std::sqrt(-2 * std::log(u));
    const double want = radius * (i % 2 == 0 ? std::cos(angle) : std::sin(angle));
    REQUIRE(std::abs(x[i] - want) < 1e-6 * radius + 1e-9);
  }
}

TEST_CASE("elementwise kernels refuse views that do not fit") {
  device::Stream stream(1);
  Array a({1, 4}, DType::f32), b({1, 5}, DType::f32), c({1, 4}, DType::i32);
  CHECK_THROWS_AS(kernels::gelu(a.view(), b.view(), stream), UsageError);
  CHECK_THROWS_AS(kernels::gelu(a.view(), c.view(), stream), UsageError);
  CHECK_THROWS_AS(kernels::add(a.view(), {}, a.view(), stream), UsageError);
  CHECK_THROWS_AS(kernels::dropout({a.view(), {}, a.view(), 1.0f, {}}, stream), UsageError);
  const Philox bits;
  CHECK_THROWS_AS(kernels::cast(a.view(), a.view(), stream, &bits), UsageError);
  CHECK_THROWS_AS(kernels::fill_normal(a.view(), 0, 0, -1, {}, stream), UsageError);
}
