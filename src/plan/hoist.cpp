#include <algorithm>
#include <iterator>
#include <utility>
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

/// A phase as the steps that keep their order, each with what is brought before it.
class Line {
 public:
  Line(std::size_t buffers, std::size_t distance)
      : distance_(distance), written_(buffers, 0), read_(buffers, 0) {}

  void keep(Step step) {
    const std::size_t place = kept_.size();
    if (step.lane == Lane::compute && step.verb != Verb::widen) computes_.push_back(place);
    note(step, place + 1);
    kept_.push_back(std::move(step));
    ahead_.emplace_back();
  }
  // Before the compute step `distance` back, behind what was brought there; never before what the
  // step depends on.
  void bring(Step step) {
    std::size_t place = kept_.size();
    if (distance_ > 0 && !computes_.empty())
      place = distance_ <= computes_.size() ? computes_[computes_.size() - distance_] : 0;
    for (const Access& access : step.accesses) {
      const std::size_t b = index_of(access.buffer);
      place = std::max(place, written_[b]);
      if (writes(access)) place = std::max(place, read_[b]);
    }
    note(step, place);
    ahead_[place].push_back(std::move(step));
  }
  void put(std::vector<Step>& out) && {
    for (std::size_t place = 0; place < ahead_.size(); ++place) {
      std::move(ahead_[place].begin(), ahead_[place].end(), std::back_inserter(out));
      if (place < kept_.size()) out.push_back(std::move(kept_[place]));
    }
  }

 private:
  void note(const Step& step, std::size_t place) {
    for (const Access& access : step.accesses) {
      std::size_t& last = (writes(access) ? written_ : read_)[index_of(access.buffer)];
      last = std::max(last, place);
    }
  }

  std::size_t distance_;
  std::vector<Step> kept_;
  std::vector<std::vector<Step>> ahead_ = std::vector<std::vector<Step>>(1);  // one at the end too
  std::vector<std::size_t> computes_;        // places of compute steps
  std::vector<std::size_t> written_, read_;  // by buffer: the first place after its last use
};

}  // namespace

Program hoist(Program program, const Setup& setup) {
  const auto distance = static_cast<std::size_t>(std::max(setup.prefetch, 0));
  std::vector<Step> steps;
  for (Phase& phase : program.phases) {
    Line line(program.buffers.size(), distance);
    for (std::uint32_t i = phase.first; i < phase.last; ++i) {
      Step& step = program.steps[i];
      if (phase.turn != Turn::after && brings(program, step)) {
        line.bring(std::move(step));
      } else {
        line.keep(std::move(step));
      }
    }
    phase.first = static_cast<std::uint32_t>(steps.size());
    std::move(line).put(steps);
    phase.last = static_cast<std::uint32_t>(steps.size());
  }
  program.steps = std::move(steps);
  return program;
}

}  // namespace sherd::plan
