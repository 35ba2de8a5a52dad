#include <vector>

#include "plan/draft.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/plan/passes.hpp"

namespace sherd::plan {
namespace {

std::string step_name(const Program& program, std::size_t i) {
  const Step& step = program.steps[i];
  return program.name + " step " + std::to_string(i) + " (" + std::string(name_of(step.verb)) +
         " " + std::to_string(step.subject) + ")";
}

void check_phases(const Program& program, std::vector<std::string>& problems) {
  std::uint32_t at = 0;
  for (const Phase& phase : program.phases) {
    if (phase.first != at || phase.last < phase.first)
      problems.push_back("phase " + phase.name + " does not follow the one before it");
    if (phase.first == phase.last) problems.push_back("phase " + phase.name + " is empty");
    if (phase.repeat == 0) problems.push_back("phase " + phase.name + " never runs");
    at = phase.last;
  }
  if (at != program.steps.size()) problems.push_back("steps behind the last phase");
}

void check_ranges(const Program& program, std::vector<std::string>& problems) {
  for (std::size_t i = 0; i < program.steps.size(); ++i) {
    for (const Access& access : program.steps[i].accesses) {
      const Buffer& buffer = program.at(access.buffer);
      if (access.size == 0 || access.first + access.size > buffer.size ||
          access.first + access.size < access.first) {
        problems.push_back(step_name(program, i) + " goes outside " + buffer.name);
      }
    }
  }
}

// A transient is written before it is read, and inside one phase.
void check_lives(const Program& program, std::vector<std::string>& problems) {
  constexpr std::size_t unseen = ~std::size_t{0};
  std::vector<std::size_t> phase_of(program.buffers.size(), unseen);
  for (std::size_t p = 0; p < program.phases.size(); ++p) {
    for (std::uint32_t i = program.phases[p].first; i < program.phases[p].last; ++i) {
      for (const Access& access : program.steps[i].accesses) {
        std::size_t& phase = phase_of[index_of(access.buffer)];
        const Buffer& buffer = program.at(access.buffer);
        if (buffer.persistent) continue;
        if (phase == unseen && access.mode != Mode::write)
          problems.push_back(step_name(program, i) + " reads " + buffer.name +
                             " before anything wrote it");
        if (phase != unseen && phase != p)
          problems.push_back(buffer.name + " crosses from phase " + program.phases[phase].name +
                             " to " + program.phases[p].name);
        phase = p;
      }
    }
  }
}

Program checked(Program program, const char* pass) {
  const std::vector<std::string> problems = check(program);
  if (problems.empty()) return program;
  throw UsageError(
      std::string("plan: after ") + pass + ": " + problems.front() +
      (problems.size() > 1 ? " (and " + std::to_string(problems.size() - 1) + " more)" : ""));
}

Program passes(Program program, const Setup& setup) {
  program = checked(std::move(program), "emit");
  if (program.name == "train") program = checked(recompute(std::move(program), setup), "recompute");
  program = checked(residency(std::move(program), setup), "residency");
  if (program.name == "train") program = checked(reduce(std::move(program), setup), "reduce");
  program = checked(update(std::move(program), setup), "update");
  return checked(hoist(std::move(program), setup), "hoist");
}

}  // namespace

std::vector<std::string> check(const Program& program) {
  std::vector<std::string> problems;
  check_phases(program, problems);
  check_ranges(program, problems);
  check_lives(program, problems);
  return problems;
}

Program train_program(const Setup& setup) { return passes(emit_train(setup), setup); }
Program evaluate_program(const Setup& setup) { return passes(emit_evaluate(setup), setup); }

}  // namespace sherd::plan
