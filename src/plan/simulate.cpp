#include "sherd/plan/simulate.hpp"

#include <algorithm>

#include "plan/draft.hpp"
#include "plan/unroll.hpp"

namespace sherd::plan {
namespace {

double touched(const Step& step) {
  double bytes = 0;
  for (const Access& access : step.accesses)
    bytes += static_cast<double>(access.size) * (access.mode == Mode::update ? 2 : 1);
  return bytes;
}

// A block is bound by its products or by the bytes it touches, whichever takes longer.
double cost(const Step& step, const Machine& machine, DType compute) {
  switch (step.verb) {
    case Verb::forward:
    case Verb::loss:
    case Verb::backward:
      return std::max(step.work / machine.product_flops(compute),
                      touched(step) / machine.memory_bandwidth);
    case Verb::gather:
    case Verb::reduce:
    case Verb::vote:
      return step.group == Group::none ? touched(step) / machine.memory_bandwidth
                                       : machine.net_latency + step.work / machine.net_bandwidth;
    case Verb::fetch:
    case Verb::evict:
      return touched(step) /
             (machine.host_bandwidth > 0 ? machine.host_bandwidth : machine.memory_bandwidth);
    default:
      return touched(step) / machine.memory_bandwidth;
  }
}

// Steps of one cycle in issue order, phases repeated.
std::vector<std::uint32_t> cycle_of(const Program& program) {
  std::vector<std::uint32_t> cycle;
  for (const Phase& phase : program.phases) {
    for (std::uint32_t r = 0; r < phase.repeat; ++r) {
      for (std::uint32_t i = phase.first; i < phase.last; ++i) cycle.push_back(i);
    }
  }
  return cycle;
}

}  // namespace

Pace pace_of(const Setup& setup) {
  return {setup.model.target.compute, setup.window > 0 ? Overlap::on : Overlap::off};
}

Estimate simulate(const Scheduled& scheduled, const Machine& machine, const Pace& pace) {
  const Program& program = scheduled.program;
  std::vector<std::vector<std::uint32_t>> waits(program.steps.size());
  for (const Wait& wait : scheduled.waits) waits[wait.step].push_back(wait.on);
  std::array<double, device::lanes> free_at{};
  std::vector<double> done(program.steps.size(), 0);
  const std::vector<std::uint32_t> cycle = cycle_of(program);
  Estimate estimate;
  double before = 0;
  for (int round = 0; round < 3; ++round) {  // the third cycle is a steady one
    before = *std::max_element(free_at.begin(), free_at.end());
    for (const std::uint32_t i : cycle) {
      const auto own = static_cast<std::size_t>(program.steps[i].lane);
      double& lane = free_at[pace.overlap == Overlap::off ? 0 : own];
      for (const std::uint32_t on : waits[i]) lane = std::max(lane, done[on]);
      const double seconds = cost(program.steps[i], machine, pace.compute);
      lane += seconds;
      done[i] = lane;
      if (round == 2) estimate.busy[own] += seconds;
    }
  }
  estimate.seconds = *std::max_element(free_at.begin(), free_at.end()) - before;
  return estimate;
}

Estimate simulate(const Plan& plan, const Machine& machine) {
  return simulate(plan.train, machine, pace_of(plan.setup));
}

}  // namespace sherd::plan
