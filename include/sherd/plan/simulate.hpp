#pragma once
// The executor's twin that only adds up time: same lanes, same waits, a cost for each step.
#include "sherd/plan/machine.hpp"
#include "sherd/plan/plan.hpp"

namespace sherd::plan {

struct Estimate {
  double seconds = 0;                        // of one step, in the steady cycle
  std::array<double, device::lanes> busy{};  // seconds by lane
};

/// How a program is run, as far as its time depends on it.
struct Pace {
  DType compute = DType::f32;     // operands of products
  Overlap overlap = Overlap::on;  // off: lanes take turns in issue order
  int world = 1;                  // ranks that collectives span
};
[[nodiscard]] Pace pace_of(const Setup& setup);

[[nodiscard]] Estimate simulate(const Scheduled& scheduled, const Machine& machine,
                                const Pace& pace);
/// The training program under its own setup.
[[nodiscard]] Estimate simulate(const Plan& plan, const Machine& machine);

}  // namespace sherd::plan
