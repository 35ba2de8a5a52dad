// Pinned host memory for what feed and decide exchange with the host, where the step runs on a
// device.
#include "plan/draft.hpp"
#include "sherd/optim/control.hpp"
#include "sherd/plan/passes.hpp"

namespace sherd::plan {
namespace {

class Mirror {
 public:
  explicit Mirror(Program& program) : program_(program), buffers_(program) {}

  void feed(Step& step) {
    if (step.subject == 0) {
      add(step, Role::inputs, "host.inputs", Role::inputs_host);
      add(step, Role::labels, "host.labels", Role::labels_host);
    } else {
      step.accesses.push_back(access("host.fed", sizeof(optim::Fed), Role::fed_host));
    }
  }
  // An update on the host reads the verdict there.
  void update(Step& step) {
    for (Access& taken : step.accesses) {
      if (taken.role != Role::control) continue;
      taken = access("host.control", sizeof(optim::Control), Role::verdict_host);
      taken.mode = Mode::read;
    }
  }
  void decide(Step& step) {
    const bool trains = step.subject == 0;
    step.accesses.push_back(access(trains ? "host.control" : "host.report",
                                   trains ? sizeof(optim::Control) : sizeof(optim::EvalReport),
                                   Role::verdict_host));
  }

 private:
  // One slot of each kind for the run: the host fills it once the step before has taken it.
  Access access(const std::string& name, Bytes size, Role role) {
    if (!has_buffer(program_, name))
      buffers_.add({name, Tier::pinned, Use::control, DType::u8, size, true});
    return whole(program_, find_buffer(program_, name), Mode::write, role);
  }
  void add(Step& step, Role of, const std::string& name, Role role) {
    for (const Access& taken : step.accesses) {
      if (taken.role != of) continue;
      step.accesses.push_back(access(name, taken.size, role));
      return;
    }
  }

  Program& program_;
  Buffers buffers_;
};

}  // namespace

Program mirror(Program program, const Setup& setup) {
  if (setup.model.target.kind == DeviceKind::cpu) return program;
  Mirror mirror(program);
  for (Step& step : program.steps) {
    if (step.verb == Verb::feed) mirror.feed(step);
    if (step.verb == Verb::decide) mirror.decide(step);
    if (step.verb == Verb::update && step.lane == Lane::host) mirror.update(step);
  }
  return program;
}

}  // namespace sherd::plan
