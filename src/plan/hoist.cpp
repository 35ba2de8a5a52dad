#include <algorithm>
#include <vector>

#include "plan/draft.hpp"
#include "sherd/plan/passes.hpp"

namespace sherd::plan {
namespace {

// Only what is gathered ahead of its use: parameters. A reduced gradient is gathered as soon as it
// exists.
bool fetches_params(const Program& program, const Step& step) {
  if (step.verb != Verb::gather) return false;
  const Use use = program.at(step.accesses.back().buffer).use;
  return use == Use::comm || use == Use::params;
}

}  // namespace

Program hoist(Program program, const Setup& setup) {
  const auto distance = static_cast<std::size_t>(std::max(setup.prefetch, 0));
  std::vector<Step> steps;
  for (Phase& phase : program.phases) {
    std::vector<Step> out;
    std::vector<std::size_t> computes;  // positions in `out` of the compute steps so far
    for (std::uint32_t i = phase.first; i < phase.last; ++i) {
      Step& step = program.steps[i];
      if (!fetches_params(program, step)) {
        if (step.lane == Lane::compute) computes.push_back(out.size());
        out.push_back(std::move(step));
        continue;
      }
      // Before the compute step `distance` back; behind gathers that wait there already.
      std::size_t at = out.size();
      if (distance > 0 && !computes.empty()) {
        at = distance <= computes.size() ? computes[computes.size() - distance] : 0;
        if (distance > computes.size()) {
          while (at < out.size() && fetches_params(program, out[at])) ++at;
        }
      }
      out.insert(out.begin() + static_cast<std::ptrdiff_t>(at), std::move(step));
      for (std::size_t& position : computes) position += position >= at ? 1 : 0;
    }
    phase.first = static_cast<std::uint32_t>(steps.size());
    std::move(out.begin(), out.end(), std::back_inserter(steps));
    phase.last = static_cast<std::uint32_t>(steps.size());
  }
  program.steps = std::move(steps);
  return program;
}

}  // namespace sherd::plan
