#include <algorithm>
#include <vector>

#include "plan/draft.hpp"
#include "sherd/plan/passes.hpp"

namespace sherd::plan {
namespace {

// What is brought ahead of its use: parameters by gathers, and whatever another tier holds. A
// reduced gradient is gathered as soon as it exists.
bool brings(const Program& program, const Step& step) {
  if (step.verb == Verb::fetch) return true;
  if (step.verb != Verb::gather) return false;
  const Use use = program.at(step.accesses.back().buffer).use;
  return use == Use::comm || use == Use::params;
}

bool conflict(const Step& a, const Step& b) {
  for (const Access& x : a.accesses) {
    for (const Access& y : b.accesses) {
      if (x.buffer == y.buffer && (writes(x) || writes(y)) && x.first < y.first + y.size &&
          y.first < x.first + x.size)
        return true;
    }
  }
  return false;
}

// Not before `at`, nor before what the step depends on.
std::size_t earliest(const std::vector<Step>& steps, std::size_t at, const Step& step) {
  for (std::size_t i = steps.size(); i-- > at;) {
    if (conflict(steps[i], step)) return i + 1;
  }
  return at;
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
      if (phase.turn == Turn::after || !brings(program, step)) {
        if (step.lane == Lane::compute) computes.push_back(out.size());
        out.push_back(std::move(step));
        continue;
      }
      // Before the compute step `distance` back; behind gathers that wait there already.
      std::size_t at = out.size();
      if (distance > 0 && !computes.empty()) {
        at = distance <= computes.size() ? computes[computes.size() - distance] : 0;
        if (distance > computes.size()) {
          while (at < out.size() && brings(program, out[at])) ++at;
        }
      }
      at = earliest(out, at, step);
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
