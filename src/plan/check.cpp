#include <algorithm>
#include <vector>

#include "plan/draft.hpp"
#include "plan/written.hpp"
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

bool inside(const Access& access, const Buffer& buffer) {
  return access.size > 0 && access.first < buffer.size && access.size <= buffer.size - access.first;
}

void check_ranges(const Program& program, std::vector<std::string>& problems) {
  for (std::size_t i = 0; i < program.steps.size(); ++i) {
    for (const Access& access : program.steps[i].accesses) {
      const Buffer& buffer = program.at(access.buffer);
      if (!inside(access, buffer))
        problems.push_back(step_name(program, i) + " goes outside " + buffer.name);
    }
  }
}

// Every byte of a transient is written before it is read, and inside one phase.
void check_lives(const Program& program, std::vector<std::string>& problems) {
  constexpr std::size_t unseen = ~std::size_t{0};
  std::vector<std::size_t> phase_of(program.buffers.size(), unseen);
  std::vector<Written> written(program.buffers.size());
  for (std::size_t p = 0; p < program.phases.size(); ++p) {
    for (std::uint32_t i = program.phases[p].first; i < program.phases[p].last; ++i) {
      for (const Access& access : program.steps[i].accesses) {
        const std::size_t id = index_of(access.buffer);
        const Buffer& buffer = program.buffers[id];
        if (buffer.persistent || !inside(access, buffer)) continue;
        const Bytes end = access.first + access.size;
        if (reads(access) && !written[id].covers(access.first, end)) {
          problems.push_back(step_name(program, i) + " reads " + buffer.name +
                             " before anything wrote it");
          written[id].add(access.first, end);  // said once
        }
        if (phase_of[id] != unseen && phase_of[id] != p)
          problems.push_back(buffer.name + " crosses from phase " +
                             program.phases[phase_of[id]].name + " to " + program.phases[p].name);
        phase_of[id] = p;
      }
      for (const Access& access : program.steps[i].accesses) {
        if (writes(access))
          written[index_of(access.buffer)].add(access.first, access.first + access.size);
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
  program = checked(tiers(std::move(program), setup), "tiers");
  if (program.name == "train")
    program = checked(activations(std::move(program), setup), "activations");
  program = checked(mirror(std::move(program), setup), "mirror");
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
