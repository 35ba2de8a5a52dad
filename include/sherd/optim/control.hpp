#pragma once
// The verdict of a step as data: one struct per rank on the device, written by `feed` and `decide`
// only.
#include <cstdint>

#include "sherd/device/stream.hpp"
#include "sherd/kernels/exact_sum.hpp"
#include "sherd/kernels/update.hpp"
#include "sherd/optim/config.hpp"

namespace sherd::optim {

/// What ranks sum in `vote`: integers only, so any order gives the same bits.
struct Vote {
  kernels::NormSum norm;    // of this rank's shards
  kernels::LossSum loss;    // of this rank's micro-batches
  std::int64_t wishes = 0;  // of ranks that were asked to stop or to save
};
/// Counts of both in one number that ranks sum.
[[nodiscard]] constexpr std::int64_t wishes(bool stop, bool save) {
  return (stop ? 1 : 0) + (save ? std::int64_t{1} << 32 : 0);
}
static_assert(sizeof(Vote) % sizeof(std::int64_t) == 0);

/// Constants of a run that `decide` needs.
struct DecideConfig {
  double nominal_tokens = 1;  // what heads divided by
  double clip_grad_norm = 0;  // 0: off
  bool dynamic = false;       // loss scale; the rest is unused when static
  float scale_min = 1;
  std::uint32_t window = 1000, hysteresis = 2;
};

/// State and verdict. The state part is what a checkpoint keeps.
struct Control {
  // state, by decide
  float scale = 1;               // loss scale the next step's gradients will carry
  std::uint32_t good = 0;        // finite steps since the last change, counted as DeepSpeed does
  std::uint32_t hysteresis = 0;  // the scale halves at the overflow that finds 1 here
  std::uint32_t skipped_in_row = 0;
  std::uint64_t step = 0;     // decided steps
  std::uint64_t applied = 0;  // of them, those that changed parameters
  // verdict, by decide
  double loss = 0;  // token-weighted mean, before the update
  double norm = 0;  // of the unscaled mean gradient, before clipping
  double tokens = 0;
  float used_scale = 1;          // the scale this step's gradients carried
  std::uint32_t stop = 0;        // ranks that were asked to stop
  std::uint32_t save = 0;        // ranks that were asked to save
  std::uint32_t at_minimum = 0;  // an overflow met the smallest scale: diverged
  // what updates read: factor and skip by decide, the rest by feed
  kernels::UpdateScalars update;
};

/// What the host says to a step before its verdict.
struct Fed {
  float lr = 0;
  double bias1 = 1, bias2 = 1;
  std::int64_t wishes = 0;  // of this rank
};

/// What an evaluation found; summed over all ranks.
struct EvalReport {
  double loss = 0;  // token-weighted mean
  double tokens = 0;
};

/// One step of the state machine: norm, loss, clip factor, skip, then the scale (never before:
/// gradients are unscaled with the scale that produced them). Uses + - * / sqrt and comparisons
/// only, so host and device agree bit for bit.
///
/// factor = nominal / (tokens · scale) · min(1, clip / (norm + 1e-6)), 0 when skipped. A step is
/// skipped when an element, the loss or the norm is not finite, or when no token counted; only the
/// former moves the scale. Loss and norm of such a step are NaN.
/// **Source** loss scaling: Micikevicius et al. 2018, §3.2; hysteresis as in DeepSpeed's dynamic
/// scaler.
void decide(const Vote& vote, const DecideConfig& config, Control& control, StreamRef stream);

/// The mean loss of an evaluation, NaN when a loss was not finite or no label counted.
void report(const Vote& vote, EvalReport& report, StreamRef stream);

/// Control before the first step: the scale is static, dynamic's first (fp16 only), or 1.
/// **Errors** UsageError on a scale, window or hysteresis out of range.
[[nodiscard]] Control initial(const PrecisionConfig& config);

/// `nominal_tokens`: what heads divide gradients by, positive.
[[nodiscard]] DecideConfig decide_config(const PrecisionConfig& precision,
                                         const OptimizerConfig& optimizer, double nominal_tokens);

}  // namespace sherd::optim
