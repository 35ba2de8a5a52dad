#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <vector>

#include "sherd/base/errors.hpp"
#include "sherd/optim/control.hpp"

using namespace sherd;
using optim::Control;
using optim::DecideConfig;
using optim::Precision;
using optim::Vote;

namespace {

sherd::StreamRef stream() {
  static sherd::device::Stream one(1);
  return one;
}

// A vote on gradients whose squares sum to `squares`, and on `tokens` labels of summed loss `loss`.
Vote vote(double squares, double loss, std::int64_t tokens) {
  Vote result;
  result.norm.squares.add(squares);
  result.loss.loss.add(loss);
  result.loss.tokens = tokens;
  return result;
}

constexpr Precision precisions[] = {Precision::fp32, Precision::bf16, Precision::fp16};

}  // namespace

TEST_CASE("norm, loss and factor are those of the unscaled mean gradient") {
  Control control;
  control.scale = 1024;
  // Heads divided by 100 tokens, 80 counted: the sum of gradients is 3 · 1024 / 100 long.
  const double root = 3.0 * 1024 / 100;
  optim::decide(vote(root * root, 200, 80), {.nominal_tokens = 100}, control, stream());
  CHECK(control.norm == doctest::Approx(3.0 / 80).epsilon(1e-15));
  CHECK(control.loss == 2.5);
  CHECK(control.tokens == 80);
  CHECK(control.used_scale == 1024);
  CHECK(control.update.skip == 0);
  CHECK(control.update.factor == static_cast<float>(100.0 / (80.0 * 1024)));
}

TEST_CASE("clipping scales the factor down to the bound and never up") {
  for (const double norm : {0.0, 0.5, 0.999, 1.0, 2.0, 1e6}) {
    for (const double clip : {0.0, 1e-3, 1.0, 10.0}) {
      Control control;
      control.scale = 8;
      const double root = norm * 8;
      optim::decide(vote(root * root, 1, 1), {.clip_grad_norm = clip}, control, stream());
      double expected = 1.0 / 8;
      if (clip > 0) expected *= std::min(1.0, clip / (norm + 1e-6));
      INFO("norm ", norm, " clip ", clip);
      CHECK(control.update.factor == doctest::Approx(expected).epsilon(1e-7));
      CHECK(control.norm == doctest::Approx(norm));
      if (clip > 0) CHECK(control.norm * 8.0 * control.update.factor <= clip * (1 + 1e-7));
    }
  }
}

TEST_CASE("a gradient element that is not finite skips the step in every precision") {
  for (const Precision precision : precisions) {
    const optim::PrecisionConfig config{.precision = precision};
    Control control = optim::initial(config);
    Vote bad = vote(1, 1, 1);
    bad.norm.nonfinite = 1;
    optim::decide(bad, optim::decide_config(config, {}, 1), control, stream());
    CHECK(control.update.skip == 1);
    CHECK(control.update.factor == 0);
    CHECK(control.applied == 0);
    CHECK(control.step == 1);
    CHECK(control.skipped_in_row == 1);
    CHECK(std::isnan(control.norm));
    CHECK(std::isnan(control.loss));
  }
}

TEST_CASE("a loss that is not finite skips the step in every precision") {
  for (const Precision precision : precisions) {
    const optim::PrecisionConfig config{.precision = precision, .loss_scale_hysteresis = 1};
    Control control = optim::initial(config);
    Vote bad = vote(1, 1, 1);
    bad.loss.nonfinite = 1;
    optim::decide(bad, optim::decide_config(config, {}, 1), control, stream());
    CHECK(control.update.skip == 1);
    CHECK(std::isnan(control.loss));
    CHECK(control.scale == (precision == Precision::fp16 ? 32768.0f : 1.0f));
  }
}

TEST_CASE("a norm beyond fp64 skips the step") {
  Control control;
  control.scale = 0x1p-126f;
  optim::decide(vote(0x1p340, 1, 1), {.nominal_tokens = 0x1p800}, control, stream());
  CHECK(control.update.skip == 1);
}

TEST_CASE("a step without tokens changes nothing and reports no loss") {
  Control control;
  control.applied = 5;
  control.update.lr = 0.5f;
  optim::decide(vote(0, 0, 0), {}, control, stream());
  CHECK(control.update.skip == 1);
  CHECK(control.update.lr == 0.5f);
  CHECK(std::isnan(control.loss));
  CHECK(control.tokens == 0);
  CHECK(control.applied == 5);
  CHECK(control.step == 1);
  CHECK(control.skipped_in_row == 0);  // no sign of divergence
  CHECK(control.at_minimum == 0);
}

TEST_CASE("zero gradients are a step like any other") {
  Control control;
  optim::decide(vote(0, 3, 2), {.nominal_tokens = 2, .clip_grad_norm = 1}, control, stream());
  CHECK(control.norm == 0);
  CHECK(control.loss == 1.5);
  CHECK(control.update.skip == 0);
  CHECK(control.update.factor == 1);
  CHECK(control.applied == 1);
}

TEST_CASE("an update is told how many there were before it, skipped steps not counted") {
  Control control;
  const std::uint64_t before[] = {0, 1, 1, 2};
  for (int step = 0; step < 4; ++step) {
    const std::int64_t tokens = step == 1 ? 0 : 2;  // skips the second step
    optim::decide(vote(1, 3, tokens), {.nominal_tokens = 2}, control, stream());
    CHECK(control.update.applied == before[step]);
  }
  CHECK(control.applied == 3);
}

TEST_CASE("a static scale stays whatever happens") {
  for (const Precision precision : precisions) {
    const optim::PrecisionConfig config{.precision = precision, .loss_scale = 128};
    const DecideConfig decide = optim::decide_config(config, {}, 1);
    Control control = optim::initial(config);
    CHECK_FALSE(decide.dynamic);
    for (int i = 0; i < 3000; ++i) {
      Vote next = vote(1, 1, 1);
      next.norm.nonfinite = i % 7 == 3 ? 1 : 0;
      optim::decide(next, decide, control, stream());
      REQUIRE(control.scale == 128);
      REQUIRE(control.at_minimum == 0);
      REQUIRE(control.update.skip == (i % 7 == 3 ? 1u : 0u));
    }
  }
}

TEST_CASE("the first scale is dynamic for fp16, static when given, else one") {
  CHECK(optim::initial({.precision = Precision::fp32}).scale == 1);
  CHECK(optim::initial({.precision = Precision::bf16}).scale == 1);
  CHECK(optim::initial({.precision = Precision::fp16}).scale == 65536);
  CHECK(optim::initial({.precision = Precision::fp16}).hysteresis == 2);
  CHECK(optim::initial({.precision = Precision::fp16, .loss_scale = 64}).scale == 64);
  CHECK(optim::initial({.precision = Precision::bf16, .loss_scale = 4}).scale == 4);
  CHECK(optim::decide_config({.precision = Precision::fp16}, {}, 1).dynamic);
  CHECK_FALSE(optim::decide_config({.precision = Precision::bf16}, {}, 1).dynamic);
}

TEST_CASE("impossible scaler settings are refused") {
  optim::PrecisionConfig low{.precision = Precision::fp16};
  low.loss_scale_init = 0.5;
  optim::PrecisionConfig window;
  window.loss_scale_window = 0;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto start = [](const optim::PrecisionConfig& config) {
    static_cast<void>(optim::initial(config));
  };
  const auto constants = [](const optim::PrecisionConfig& config, double nominal) {
    static_cast<void>(optim::decide_config(config, {}, nominal));
  };
  CHECK_THROWS_AS(start(low), UsageError);
  CHECK_THROWS_AS(start({.loss_scale = -1}), UsageError);
  CHECK_THROWS_AS(start({.loss_scale = nan}), UsageError);
  CHECK_THROWS_AS(constants(window, 1), UsageError);
  CHECK_THROWS_AS(constants({}, 0), UsageError);
}

TEST_CASE("the stop count reaches the verdict") {
  Control control;
  Vote asked = vote(1, 1, 1);
  asked.wishes = 3;
  optim::decide(asked, {}, control, stream());
  CHECK(control.stop == 3);
  optim::decide(vote(1, 1, 1), {}, control, stream());
  CHECK(control.stop == 0);
}

TEST_CASE("votes of ranks may be summed word by word in any order") {
  const std::vector<Vote> ranks = {vote(1e-20, 3.25, 7), vote(1e10, -1e-3, 0), vote(0.3, 1e5, 2)};
  const auto summed = [&](const std::vector<std::size_t>& order) {
    Vote total;
    for (const std::size_t rank : order) {
      std::int64_t words[sizeof(Vote) / 8], term[sizeof(Vote) / 8];
      std::memcpy(words, &total, sizeof total);
      std::memcpy(term, &ranks[rank], sizeof total);
      for (std::size_t i = 0; i < sizeof(Vote) / 8; ++i) words[i] += term[i];
      std::memcpy(&total, words, sizeof total);
    }
    Control control;
    optim::decide(total, {.nominal_tokens = 9, .clip_grad_norm = 0.1}, control, stream());
    return control;
  };
  const Control a = summed({0, 1, 2}), b = summed({2, 0, 1});
  CHECK(a.loss == b.loss);
  CHECK(a.norm == b.norm);
  CHECK(a.update.factor == b.update.factor);
  CHECK(a.norm == doctest::Approx(std::sqrt(1e10 + 0.3)));
  CHECK(a.loss == doctest::Approx((3.25 - 1e-3 + 1e5) / 9));
}
