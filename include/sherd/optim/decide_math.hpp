#pragma once
// The arithmetic of `decide`, shared by host and device.
#include <cmath>
#include <limits>

#include "sherd/kernels/exact_sum_math.hpp"
#include "sherd/optim/control.hpp"

namespace sherd::optim {

/// Growth stops here, so that 1 / scale stays a normal float even when all gradients are zero.
inline constexpr float scale_max = 0x1p100f;

/// What the votes of all ranks add up to.
struct Measured {
  double root = 0;      // square root of the sum of squares, as scaled as the gradients
  double loss_sum = 0;  // of token losses
  std::int64_t tokens = 0;
  bool finite = true;  // every gradient element and every loss
  std::int64_t wishes = 0;
};

[[nodiscard]] constexpr bool is_finite(double x) { return x - x == 0; }

[[nodiscard]] SHERD_FORMULA Measured measured(const Vote& vote) {
  return {.root = ::sqrt(kernels::exact_value(vote.norm.squares)),
          .loss_sum = kernels::exact_value(vote.loss.loss),
          .tokens = vote.loss.tokens,
          .finite = vote.norm.nonfinite == 0 && vote.loss.nonfinite == 0,
          .wishes = vote.wishes};
}

[[nodiscard]] SHERD_FORMULA EvalReport report_of(const Vote& vote) {
  const auto tokens = static_cast<double>(vote.loss.tokens);
  const bool finite = vote.loss.nonfinite == 0 && tokens > 0;
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  return {finite ? kernels::exact_value(vote.loss.loss) / tokens : nan, tokens};
}

/// One transition of the dynamic scale. `good` is DeepSpeed's `it - last_overflow - 1`, brought
/// back to 1 at a growth, which leaves every later multiple of the window where it was.
constexpr void advance_scale(bool overflow, const DecideConfig& config, Control& control) {
  control.at_minimum = 0;
  if (overflow) {
    control.good = 0;
    if (control.hysteresis > 1) {
      --control.hysteresis;
      return;
    }
    control.at_minimum = control.scale <= config.scale_min ? 1 : 0;
    const float half = control.scale * 0.5f;
    control.scale = half > config.scale_min ? half : config.scale_min;
    return;
  }
  if (control.good >= config.window) {  // above it only when resumed with a shorter one
    control.hysteresis = config.hysteresis;
    if (control.scale < scale_max) control.scale *= 2.0f;
    control.good = 0;
  }
  ++control.good;
}

/// The verdict on `seen`, then the state after it.
constexpr void judge(const Measured& seen, const DecideConfig& config, Control& control) {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  const double scale = static_cast<double>(control.scale);
  const double tokens = static_cast<double>(seen.tokens);
  const bool counted = seen.tokens > 0;
  const double norm = counted ? seen.root / scale * config.nominal_tokens / tokens : nan;
  const bool overflow = !seen.finite || (counted && !is_finite(norm));
  const bool skip = overflow || !counted;

  control.used_scale = control.scale;
  control.tokens = tokens;
  control.loss = skip ? nan : seen.loss_sum / tokens;
  control.norm = skip ? nan : norm;
  control.stop = static_cast<std::uint32_t>(seen.wishes);
  control.save = static_cast<std::uint32_t>(seen.wishes >> 32);
  control.update.skip = skip ? 1 : 0;
  control.update.factor = 0;
  if (!skip) {
    double factor = config.nominal_tokens / (tokens * scale);
    const double clip = config.clip_grad_norm / (norm + 1e-6);
    if (config.clip_grad_norm > 0 && clip < 1) factor *= clip;
    control.update.factor = static_cast<float>(factor);
  }

  control.update.applied = control.applied;
  ++control.step;
  if (!skip) ++control.applied;
  if (overflow) ++control.skipped_in_row;  // a step without labels is no sign of divergence
  if (!skip) control.skipped_in_row = 0;
  control.at_minimum = 0;
  if (config.dynamic && (overflow || counted)) advance_scale(overflow, config, control);
}

}  // namespace sherd::optim
