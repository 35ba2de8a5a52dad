#pragma once
// The cycle laid out straight, and vector clocks over its lanes.
#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "sherd/plan/program.hpp"

namespace sherd::plan {

/// Step indices of `cycles` rounds, each phase at most `repeats` times.
[[nodiscard]] inline std::vector<std::uint32_t> unrolled(const Program& program, int cycles,
                                                         std::uint32_t repeats) {
  std::vector<std::uint32_t> steps;
  for (int cycle = 0; cycle < cycles; ++cycle) {
    for (const Phase& phase : program.phases) {
      for (std::uint32_t r = 0; r < std::min(phase.repeat, repeats); ++r) {
        for (std::uint32_t i = phase.first; i < phase.last; ++i) steps.push_back(i);
      }
    }
  }
  return steps;
}

/// By lane: how many of its issues have certainly finished.
using Clock = std::array<std::uint64_t, device::lanes>;

class Clocks {
 public:
  explicit Clocks(std::size_t steps) : after_(steps), issued_(steps, false) {}

  /// What the next step of `lane` knows from its queue alone.
  [[nodiscard]] Clock start(Lane lane) const { return lanes_[static_cast<std::size_t>(lane)]; }
  /// Adds what the latest issue of step `on` knew at its end, if there was one.
  void join_latest(Clock& clock, std::uint32_t on) const {
    if (!issued_[on]) return;
    for (std::size_t lane = 0; lane < clock.size(); ++lane)
      clock[lane] = std::max(clock[lane], after_[on][lane]);
  }
  void finish(std::uint32_t step, Lane lane, Clock& clock) {
    const auto l = static_cast<std::size_t>(lane);
    clock[l] = ++count_[l];
    lanes_[l] = clock;
    after_[step] = clock;
    issued_[step] = true;
  }

 private:
  std::array<Clock, device::lanes> lanes_{};
  std::array<std::uint64_t, device::lanes> count_{};
  std::vector<Clock> after_;
  std::vector<bool> issued_;
};

}  // namespace sherd::plan
