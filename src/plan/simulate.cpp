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

// Bytes of a copy that lie in a tier where `far` holds: those that cross the link to it.
template <class Far>
double crossing(const Program& program, const Step& step, Far&& far) {
  double bytes = 0;
  for (const Access& access : step.accesses) {
    if (far(program.at(access.buffer).tier)) bytes += static_cast<double>(access.size);
  }
  return bytes;
}

// A copy takes the slowest link it crosses: the disk, the host's link, or memory read and written.
double copy_cost(const Program& program, const Step& step, const Machine& machine) {
  const double disk = crossing(program, step, [](Tier tier) { return tier == Tier::file; });
  if (disk > 0 && machine.disk_bandwidth > 0) return disk / machine.disk_bandwidth;
  const double near = crossing(program, step, [](Tier tier) { return tier == Tier::device; });
  const double link = crossing(program, step, [](Tier tier) { return tier != Tier::device; });
  const bool crosses = near > 0 && link > 0;
  if (crosses && machine.host_bandwidth > 0) return link / machine.host_bandwidth;
  return touched(step) / machine.memory_bandwidth;
}

double collective_cost(const Step& step, const Machine& machine, int world) {
  if (step.group == Group::none) return touched(step) / machine.memory_bandwidth;
  const bool local = world <= machine.ranks && machine.local_bandwidth > 0;
  return machine.net_latency +
         step.work / (local ? machine.local_bandwidth : machine.net_bandwidth);
}

// A block is bound by its products or by the bytes it touches, whichever takes longer.
double cost(const Program& program, const Step& step, const Machine& machine, const Pace& pace) {
  switch (step.verb) {
    case Verb::forward:
    case Verb::loss:
    case Verb::backward:
      return std::max(step.work / machine.product_flops(pace.compute),
                      touched(step) / machine.memory_bandwidth);
    case Verb::gather:
    case Verb::reduce:
    case Verb::vote:
      return collective_cost(step, machine, pace.world);
    case Verb::fetch:
    case Verb::evict:
      return copy_cost(program, step, machine);
    case Verb::update:
      return touched(step) / (step.lane == Lane::host && machine.host_update_bandwidth > 0
                                  ? machine.host_update_bandwidth
                                  : machine.memory_bandwidth);
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
  return {setup.model.target.compute, setup.window > 0 ? Overlap::on : Overlap::off, setup.world()};
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
      const double seconds = cost(program, program.steps[i], machine, pace);
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
