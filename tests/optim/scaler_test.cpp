#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "sherd/optim/control.hpp"

using namespace sherd;
using optim::Control;
using optim::DecideConfig;

namespace {

sherd::StreamRef stream() {
  static sherd::device::Stream one(1);
  return one;
}

// DeepSpeed's DynamicLossScaler.update_scale with consecutive_hysteresis off, written from its
// published pseudo-code and its own counters.
struct Published {
  double scale = 65536;
  long it = 0, last_overflow = -1;
  long hysteresis = 2, configured = 2, window = 1000;
  double minimum = 1;
  bool raised = false;

  void update(bool overflow) {
    raised = false;
    if (overflow) {
      if (configured == 1 || hysteresis == 1) {
        raised = scale == minimum;
        scale = std::max(scale / 2, minimum);
      } else {
        hysteresis -= 1;
      }
      last_overflow = it;
    } else {
      const long stable = it - last_overflow - 1;
      if (stable > 0 && stable % window == 0) {
        hysteresis = configured;
        scale *= 2;
      }
    }
    it += 1;
  }
};

optim::Vote vote(bool overflow) {
  optim::Vote result;
  result.loss.tokens = 4;
  result.loss.loss.add(8.0);
  result.norm.squares.add(1.0);
  result.norm.nonfinite = overflow ? 1 : 0;
  return result;
}

struct Run {
  DecideConfig config;
  Control control;
  Published published;

  Run(double init, long window, long hysteresis, double minimum) {
    optim::PrecisionConfig precision;
    precision.precision = optim::Precision::fp16;
    precision.loss_scale_init = init;
    precision.loss_scale_window = window;
    precision.loss_scale_hysteresis = hysteresis;
    precision.loss_scale_min = minimum;
    config = optim::decide_config(precision, {}, 4);
    control = optim::initial(precision);
    published = {.scale = init,
                 .hysteresis = hysteresis,
                 .configured = hysteresis,
                 .window = window,
                 .minimum = minimum};
  }
  void step(bool overflow) {
    optim::decide(vote(overflow), config, control, stream());
    published.update(overflow);
  }
  void steps(int count, bool overflow) {
    for (int i = 0; i < count; ++i) step(overflow);
  }
};

void same(const Run& run) {
  REQUIRE(static_cast<double>(run.control.scale) == run.published.scale);
  REQUIRE(static_cast<long>(run.control.hysteresis) == run.published.hysteresis);
  REQUIRE((run.control.at_minimum != 0) == run.published.raised);
}

}  // namespace

TEST_CASE("the scaler follows the published pseudo-code over random overflow sequences") {
  std::mt19937 bits(7);
  for (const long window : {1L, 2L, 3L, 5L, 8L, 20L}) {
    for (const long hysteresis : {1L, 2L, 3L}) {
      for (const double minimum : {0.25, 1.0, 1024.0}) {
        for (const unsigned one_in : {2u, 5u, 17u, 60u}) {
          Run run(4096, window, hysteresis, minimum);
          for (int i = 0; i < 200 && run.published.scale < 0x1p60; ++i) {
            run.step(bits() % one_in == 0);
            INFO("window ", window, " hysteresis ", hysteresis, " step ", i);
            same(run);
          }
        }
      }
    }
  }
}

TEST_CASE("the scaler agrees with the published one on every sequence of eleven steps") {
  for (const long window : {1L, 2L, 3L}) {
    for (const long hysteresis : {1L, 2L}) {
      for (unsigned pattern = 0; pattern < (1u << 11); ++pattern) {
        Run run(4, window, hysteresis, 1);
        for (int i = 0; i < 11; ++i) {
          run.step(((pattern >> i) & 1u) != 0);
          same(run);
        }
      }
    }
  }
}

TEST_CASE("the scaler matches hand-worked transitions") {
  struct Case {
    const char* steps;  // '.' finite, 'x' overflow
    long window, hysteresis;
    std::vector<float> scales;  // after each step
  };
  const std::vector<Case> table = {
      {"....", 3, 1, {8, 8, 8, 16}},                               // first growth is late by one
      {".......", 3, 1, {8, 8, 8, 16, 16, 16, 32}},                // later ones are not
      {"x....", 3, 1, {4, 4, 4, 4, 8}},                            // overflow at k, growth at k+1+W
      {"..x....", 3, 1, {8, 8, 4, 4, 4, 4, 8}},                    // and the count starts again
      {"xx", 3, 2, {8, 4}},                                        // the first is tolerated
      {"x.x", 3, 2, {8, 8, 4}},                                    // a finite step refills nothing
      {"x....xx", 3, 2, {8, 8, 8, 8, 16, 16, 8}},                  // a growth refills
      {"xxxx", 3, 2, {8, 4, 2, 1}},                                // spent: every overflow halves
      {"xxxxx", 3, 3, {8, 8, 4, 2, 1}},                            // two are tolerated
      {"....", 1, 1, {8, 16, 32, 64}},                             // the smallest window
      {"xxxxxx", 1, 1, {4, 2, 1, 1, 1, 1}},                        // never below the minimum
      {"x.x.x..", 1, 1, {4, 4, 2, 2, 1, 1, 2}},                    // no growth right after
      {"....x.....", 3, 2, {8, 8, 8, 16, 16, 16, 16, 16, 32, 32}}  // tolerated, yet counts anew
  };
  for (const Case& c : table) {
    Run run(8, c.window, c.hysteresis, 1);
    for (std::size_t i = 0; i < c.scales.size(); ++i) {
      run.step(c.steps[i] == 'x');
      INFO(std::string(c.steps), " step ", i);
      CHECK(run.control.scale == c.scales[i]);
    }
  }
}

TEST_CASE("an overflow at the smallest scale is reported only once hysteresis is spent") {
  Run run(1, 4, 2, 1);
  run.step(true);
  CHECK(run.control.at_minimum == 0);
  run.step(true);
  CHECK(run.control.at_minimum == 1);
  CHECK(run.control.scale == 1);
  run.step(false);
  CHECK(run.control.at_minimum == 0);
}

TEST_CASE("a growth step is unscaled with the scale that produced its gradients") {
  Run run(8, 3, 1, 1);
  run.steps(3, false);
  const float before = run.control.update.factor;
  run.step(false);
  CHECK(run.control.scale == 16);
  CHECK(run.control.used_scale == 8);
  CHECK(run.control.update.factor == before);
  CHECK(run.control.update.factor == 1.0f / 8);
  CHECK(run.control.norm == 1.0 / 8);
  run.step(false);
  CHECK(run.control.used_scale == 16);
  CHECK(run.control.update.factor == 1.0f / 16);
}

TEST_CASE("every overflow skips the update, also a tolerated one") {
  Run run(8, 3, 3, 1);
  for (std::uint32_t i = 1; i <= 5; ++i) {
    run.step(true);
    CHECK(run.control.update.skip == 1);
    CHECK(run.control.update.factor == 0);
    CHECK(run.control.skipped_in_row == i);
  }
  CHECK(run.control.applied == 0);
  CHECK(run.control.step == 5);
  run.step(false);
  CHECK(run.control.skipped_in_row == 0);
  CHECK(run.control.applied == 1);
}

TEST_CASE("a step without tokens leaves the scaler where it was") {
  Run run(8, 3, 2, 1), other(8, 3, 2, 1);
  run.steps(2, false);
  other.steps(2, false);
  optim::Vote empty;
  optim::decide(empty, run.config, run.control, stream());
  CHECK(run.control.update.skip == 1);
  run.steps(2, false);
  other.steps(2, false);
  CHECK(run.control.scale == other.control.scale);
  CHECK(run.control.good == other.control.good);
  CHECK(run.control.hysteresis == other.control.hysteresis);
}

TEST_CASE("growth stops while the reciprocal of the scale is a normal float") {
  Run run(0x1p98, 1, 1, 1);
  run.steps(10, false);
  CHECK(run.control.scale == 0x1p100f);
  CHECK(run.control.update.factor >= std::numeric_limits<float>::min());
}
