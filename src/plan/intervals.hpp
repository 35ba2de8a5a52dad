#pragma once
// From when to when a phase needs a state on the device.
#include <vector>

#include "sherd/plan/program.hpp"

namespace sherd::plan {

/// Steps that use one copy of a state, from the first to the last of them.
struct Interval {
  std::uint32_t first, last;
};

/// Consecutive uses share a copy, also across the turn at the loss. Never more than two copies a
/// micro-step: the nearest neighbours are joined until that holds (tied parameters in a bucket with
/// blocks).
template <class Uses>
[[nodiscard]] std::vector<Interval> intervals(const Program& program, const Phase& phase,
                                              Uses&& uses) {
  std::vector<Interval> found;
  bool joined = false;
  for (std::uint32_t i = phase.first; i < phase.last; ++i) {
    const Step& step = program.steps[i];
    if (uses(step)) {
      if (joined)
        found.back().last = i;
      else
        found.push_back({i, i});
      joined = true;
    } else if (step.verb != Verb::loss) {
      joined = false;
    }
  }
  while (found.size() > 2) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < found.size(); ++i) {
      if (found[i + 1].first - found[i].last < found[best + 1].first - found[best].last) best = i;
    }
    found[best].last = found[best + 1].last;
    found.erase(found.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
  return found;
}

}  // namespace sherd::plan
