#include "sherd/optim/schedule.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <initializer_list>
#include <numbers>

using namespace sherd;
using optim::bias_correction;
using optim::learning_rate;
using optim::OptimizerConfig;
using optim::Schedule;

namespace {

constexpr Schedule schedules[] = {Schedule::constant, Schedule::cosine, Schedule::linear,
                                  Schedule::wsd};

OptimizerConfig config(Schedule schedule, std::int64_t warmup, double floor) {
  OptimizerConfig result;
  result.lr = 0.02;
  result.schedule = schedule;
  result.warmup_steps = warmup;
  result.min_lr_ratio = floor;
  return result;
}

doctest::Approx close(double value) { return doctest::Approx(value).epsilon(1e-14); }

}  // namespace

TEST_CASE("warm-up is linear and reaches lr at its last step under every schedule") {
  for (const Schedule schedule : schedules) {
    const OptimizerConfig c = config(schedule, 8, 0.1);
    for (std::uint64_t n = 1; n <= 8; ++n) {
      CHECK(learning_rate(c, n - 1, 100) == close(0.02 * static_cast<double>(n) / 8));
    }
  }
}

TEST_CASE("a constant schedule stays at lr") {
  const OptimizerConfig c = config(Schedule::constant, 3, 0.5);
  for (std::uint64_t n = 4; n <= 200; ++n) CHECK(learning_rate(c, n - 1, 100) == 0.02);
}

TEST_CASE("cosine follows its closed form to the floor") {
  const OptimizerConfig c = config(Schedule::cosine, 20, 0.1);
  for (std::uint64_t n = 21; n <= 120; ++n) {
    const double half_angle = std::numbers::pi * (static_cast<double>(n) - 20) / 200;
    const double expected = 0.002 + 0.018 * std::cos(half_angle) * std::cos(half_angle);
    CHECK(learning_rate(c, n - 1, 120) == close(expected));
  }
  CHECK(learning_rate(c, 69, 120) == close(0.5 * (0.02 + 0.002)));
  CHECK(learning_rate(c, 119, 120) == close(0.002));
}

TEST_CASE("linear falls by equal parts to the floor") {
  const OptimizerConfig c = config(Schedule::linear, 0, 0.2);
  for (std::uint64_t n = 1; n <= 50; ++n) {
    CHECK(learning_rate(c, n - 1, 50) == close(0.02 - 0.016 * static_cast<double>(n) / 50));
  }
}

TEST_CASE("wsd is constant and then falls over the last fifth") {
  const OptimizerConfig c = config(Schedule::wsd, 5, 0);
  for (std::uint64_t n = 5; n <= 80; ++n) CHECK(learning_rate(c, n - 1, 100) == close(0.02));
  for (std::uint64_t n = 80; n < 100; ++n) {
    CHECK(learning_rate(c, n - 1, 100) == close(0.001 * static_cast<double>(100 - n)));
  }
  CHECK(learning_rate(c, 99, 100) == 0);
}

TEST_CASE("wsd starts its fall after a long warm-up") {
  const OptimizerConfig c = config(Schedule::wsd, 90, 0);
  CHECK(learning_rate(c, 89, 100) == close(0.02));
  CHECK(learning_rate(c, 94, 100) == close(0.01));
}

TEST_CASE("updates past the total keep the last value") {
  for (const Schedule schedule : schedules) {
    const OptimizerConfig c = config(schedule, 10, 0.25);
    CHECK(learning_rate(c, 500, 100) == learning_rate(c, 99, 100));
    CHECK(learning_rate(c, 12, 10) == learning_rate(c, 500, 10));  // nothing but warm-up
    CHECK(learning_rate(c, 9, 10) == close(0.02));
  }
}

TEST_CASE("no schedule leaves the range from floor to lr after warm-up") {
  for (const Schedule schedule : schedules) {
    const OptimizerConfig c = config(schedule, 4, 0.1);
    for (std::uint64_t n = 5; n <= 33; ++n) {
      const double lr = learning_rate(c, n - 1, 33);
      CHECK(lr <= 0.02);
      CHECK(lr >= 0.002 * (1 - 1e-12));
      CHECK(lr <= learning_rate(c, n - 2, 33) * (1 + 1e-15));
    }
  }
}

// 1 - pow is ill-conditioned near one, so the reference goes through logarithms in more digits.
TEST_CASE("bias correction is right to the last place") {
  for (const double beta : {0.5, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.999999, 0.3333}) {
    for (const std::uint64_t n : {1u, 2u, 3u, 4u, 7u, 10u, 99u, 1000u, 4096u, 65537u, 1000000u}) {
      const long double rate = std::log1p(static_cast<long double>(beta) - 1);
      const long double exact = -std::expm1(static_cast<long double>(n) * rate);
      const double got = bias_correction(beta, n - 1);
      INFO("beta ", beta, " n ", n);
      CHECK(std::abs(static_cast<double>((got - exact) / exact)) <= 1e-15);
    }
  }
}

TEST_CASE("bias correction agrees with pow where pow has the digits") {
  for (const double beta : {0.5, 0.9, 0.95}) {
    for (const std::uint64_t n : {1u, 2u, 5u, 20u, 300u}) {
      const long double power = std::pow(static_cast<long double>(beta), static_cast<int>(n));
      const auto expected = static_cast<double>(1 - power);
      CHECK(std::abs(bias_correction(beta, n - 1) - expected) <= 1e-15 * expected);
    }
  }
}

TEST_CASE("bias correction is exact at the ends") {
  CHECK(bias_correction(0, 0) == 1);
  CHECK(bias_correction(0, 1000) == 1);
  CHECK(bias_correction(1, 0) == 0);
  CHECK(bias_correction(1, 12345) == 0);
  CHECK(bias_correction(0.9, 0) == 1 - 0.9);
  CHECK(bias_correction(0.5, 2) == 0.875);
  CHECK(bias_correction(0.9, std::uint64_t{1} << 50) == 1);
}
