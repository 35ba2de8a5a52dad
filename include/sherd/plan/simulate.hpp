#pragma once
// The executor's twin that only adds up time: same lanes, same waits, a cost for each step.
#include "sherd/plan/plan.hpp"

namespace sherd::plan {

/// Rates of one rank, as `sherd bench` measures them; the defaults are one core of a small server.
struct Machine {
  double flops = 8e10;               // FLOP/s of products
  double memory_bandwidth = 1.5e10;  // bytes/s of element-wise passes
  double net_bandwidth = 5e9;        // bytes/s of collectives
  double net_latency = 2e-5;         // seconds a collective
};

struct Estimate {
  double seconds = 0;                        // of one step, in the steady cycle
  std::array<double, device::lanes> busy{};  // seconds by lane
};
[[nodiscard]] Estimate simulate(const Scheduled& scheduled, const Machine& machine);

}  // namespace sherd::plan
