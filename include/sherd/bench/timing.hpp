#pragma once
// How long passes take: medians over rounds in which everything compared takes turns.
#include <functional>
#include <span>
#include <vector>

namespace sherd::bench {

/// Seconds of one pass.
struct Timing {
  double median = 0, fastest = 0, slowest = 0;
  int rounds = 0;
  /// (slowest - fastest) / median.
  [[nodiscard]] double spread() const { return median > 0 ? (slowest - fastest) / median : 0; }
};

/// **Errors** UsageError without samples.
[[nodiscard]] Timing summarize(std::vector<double> seconds);

using Pass = std::function<void()>;

/// Each pass once to warm up, then `rounds` times in turn, so that a ratio of two of them sees the
/// same minutes of a noisy machine.
[[nodiscard]] std::vector<Timing> alternate(int rounds, std::span<const Pass> passes);

}  // namespace sherd::bench
