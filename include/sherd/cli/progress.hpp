#pragma once
// How far a run is, for people.
#include <cstdint>
#include <iosfwd>

#include "sherd/cli/events.hpp"

namespace sherd::cli {

/// `bar`: one line redrawn in place; `lines`: one line a step.
enum class ProgressStyle { none, lines, bar };

/// A bar where stderr is a terminal, lines where it is not, nothing when `quiet`.
[[nodiscard]] ProgressStyle progress_style(bool quiet);

/// Shows steps and evaluations as they come; the time left follows the average step so far.
class Progress {
 public:
  /// **Memory** `out` outlives this (std::cerr, or a test's stream).
  Progress(std::ostream& out, ProgressStyle style, std::int64_t steps);

  void step(const StepEvent& event);
  void eval(const EvalEvent& event);
  void saved(const CheckpointEvent& event);
  /// Ends the bar, so that what is printed next starts on a line of its own.
  void finish();

 private:
  void draw(const StepEvent& event);
  std::ostream& out_;
  ProgressStyle style_;
  std::int64_t steps_;
  std::int64_t shown_ = 0;  // steps this progress has seen
  double seconds_ = 0;      // they took
  double undrawn_ = 0;      // seconds of steps since the bar was drawn
  bool open_ = false;       // the cursor is on the bar
};

}  // namespace sherd::cli
