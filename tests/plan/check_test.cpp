// Faults planted in small programs.
#include <doctest/doctest.h>

#include "plan/toy_model.hpp"

namespace sherd {
namespace {

using plan::BufferId;
using plan::Lane;
using plan::Mode;
using plan::Program;
using plan::Role;
using plan::Verb;

plan::Step step(Verb verb, std::vector<plan::Access> accesses) {
  return {verb, Lane::compute, plan::Group::none, 0, 0, std::move(accesses), 0};
}

// Phase "one" writes and reads a transient, phase "two" reads a persistent buffer.
Program sound() {
  Program program;
  program.name = "toy";
  program.buffers = {{"x", plan::Tier::device, plan::Use::activations, DType::f32, 100, false},
                     {"p", plan::Tier::device, plan::Use::params, DType::f32, 64, true}};
  const BufferId x{0}, p{1};
  program.steps = {step(Verb::feed, {{x, Mode::write, 0, 100, Role::inputs, 0}}),
                   step(Verb::forward, {{x, Mode::read, 0, 100, Role::in, 0}}),
                   step(Verb::update, {{p, Mode::update, 0, 64, Role::master, 0}})};
  program.phases = {{"one", 0, 2, 1, Lane::compute}, {"two", 2, 3, 1, Lane::compute}};
  return program;
}

std::string only_problem(const Program& program) {
  const std::vector<std::string> problems = plan::check(program);
  REQUIRE(problems.size() == 1);
  return problems.front();
}

}  // namespace

TEST_CASE("a sound program has no problem") { CHECK(plan::check(sound()).empty()); }

TEST_CASE("an access outside its buffer is named") {
  for (const auto& [first, size] :
       {std::pair<Bytes, Bytes>{0, 101}, {100, 1}, {~Bytes{0}, 2}, {5, 0}}) {
    Program program = sound();
    program.steps[1].accesses[0].first = first;
    program.steps[1].accesses[0].size = size;
    CHECK(only_problem(program).find("toy step 1 (forward 0) goes outside x") != std::string::npos);
  }
}

TEST_CASE("a transient that is read or added to before it is written is named") {
  for (const Mode mode : {Mode::read, Mode::update}) {
    Program program = sound();
    program.steps[0].accesses[0].mode = mode;
    CHECK(only_problem(program) == "toy step 0 (feed 0) reads x before anything wrote it");
  }
}

TEST_CASE("bytes of a transient that nobody wrote are named, though other bytes were written") {
  Program program = sound();
  program.steps[0].accesses[0].size = 96;
  CHECK(only_problem(program) == "toy step 1 (forward 0) reads x before anything wrote it");
}

TEST_CASE("a transient that crosses a phase is named") {
  Program program = sound();
  program.steps[2].accesses.push_back({BufferId{0}, Mode::write, 0, 100, Role::scratch, 0});
  CHECK(only_problem(program) == "x crosses from phase one to two");
}

TEST_CASE("phases that are empty, never run, leave a gap or leave steps over are named") {
  Program empty = sound();
  empty.phases.push_back({"three", 3, 3, 1, Lane::compute});
  CHECK(only_problem(empty) == "phase three is empty");
  Program idle = sound();
  idle.phases[1].repeat = 0;
  CHECK(only_problem(idle) == "phase two never runs");
  Program left = sound();
  left.phases.pop_back();
  CHECK(only_problem(left) == "steps behind the last phase");
  Program gap = sound();
  gap.phases[0].last = 1;
  CHECK(only_problem(gap) == "phase two does not follow the one before it");
}

}  // namespace sherd
