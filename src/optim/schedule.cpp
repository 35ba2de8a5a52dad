#include "sherd/optim/schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "sherd/base/errors.hpp"

namespace sherd::optim {
namespace {

/// A number as the unevaluated sum of two doubles, |tail| at most half a unit of head's last place.
struct Pair {
  double head = 0, tail = 0;
};

// Veltkamp's splitting into two 26-bit halves (Dekker 1971, §5).
Pair split(double x) {
  const double big = 0x1p27 * x + x;
  const double head = big - (big - x);
  return {head, x - head};
}

// Dekker's exact product of the heads, then the cross terms.
Pair times(Pair a, Pair b) {
  const double product = a.head * b.head;
  const Pair x = split(a.head), y = split(b.head);
  const double error =
      ((x.head * y.head - product) + x.head * y.tail + x.tail * y.head) + x.tail * y.tail;
  const double tail = error + (a.head * b.tail + a.tail * b.head);
  const double head = product + tail;
  return {head, tail - (head - product)};
}

// How far the decay has come at update `number`: 0 before it starts, 1 from `total` on.
double progress(double number, double start, double total) {
  return total > start ? std::clamp((number - start) / (total - start), 0.0, 1.0) : 1.0;
}

}  // namespace

double learning_rate(const OptimizerConfig& config, std::uint64_t applied, std::uint64_t total) {
  const double number = static_cast<double>(applied) + 1;
  const double warmup = static_cast<double>(std::max<std::int64_t>(config.warmup_steps, 0));
  if (number <= warmup) return config.lr * number / warmup;
  const double end = static_cast<double>(total), floor = config.min_lr_ratio;
  const auto between = [&](double high) { return config.lr * (floor + (1 - floor) * high); };
  switch (config.schedule) {
    case Schedule::constant:
      return config.lr;
    case Schedule::cosine:
      return between(0.5 * (1 + std::cos(std::numbers::pi * progress(number, warmup, end))));
    case Schedule::linear:
      return between(1 - progress(number, warmup, end));
    case Schedule::wsd:
      return between(1 - progress(number, std::max(warmup, end * 4 / 5), end));
  }
  throw_usage("learning_rate: got an unknown schedule, need constant, cosine, linear or wsd");
}

double bias_correction(double beta, std::uint64_t applied) {
  Pair power{1, 0}, square{beta, 0};
  for (std::uint64_t left = applied + 1; left != 0; left >>= 1) {
    if ((left & 1) != 0) power = times(power, square);
    square = times(square, square);
  }
  return (1 - power.head) - power.tail;
}

}  // namespace sherd::optim
