#include "sherd/plan/simulate.hpp"

#include <doctest/doctest.h>

#include "plan/toy_model.hpp"

namespace sherd {
namespace {

using plan::BufferId;
using plan::Group;
using plan::Lane;
using plan::Mode;
using plan::Role;
using plan::Verb;

constexpr plan::Machine slow{10, 10, 100, 1};  // FLOP/s, bytes/s, net bytes/s, net latency

// gather 1 + 1000/100 = 11 s; feed 60/10 = 6 s; forward max(500/10, 160/10) = 50 s;
// update 2 * 100/10 = 20 s.
plan::Scheduled by_hand() {
  plan::Scheduled s;
  s.program.name = "train";
  const auto buffer = [](const char* name, Bytes size) {
    return plan::Buffer{name, plan::Tier::device, plan::Use::comm, DType::u8, size, true};
  };
  s.program.buffers = {buffer("full", 100), buffer("x", 60)};
  const BufferId full{0}, x{1};
  s.program.steps = {
      {Verb::gather,
       Lane::net,
       Group::data,
       0,
       0,
       {{full, Mode::write, 0, 100, Role::full, 0}},
       1000},
      {Verb::feed, Lane::compute, Group::none, 0, 0, {{x, Mode::write, 0, 60, Role::inputs, 0}}, 0},
      {Verb::forward,
       Lane::compute,
       Group::none,
       0,
       0,
       {{full, Mode::read, 0, 100, Role::param, 0}, {x, Mode::read, 0, 60, Role::in, 0}},
       500},
      {Verb::update,
       Lane::compute,
       Group::none,
       0,
       0,
       {{full, Mode::update, 0, 100, Role::master, 0}},
       0}};
  s.program.phases = {{"micro", 0, 3, 1, Lane::compute}, {"update", 3, 4, 1, Lane::compute}};
  s.at.resize(2);
  return s;
}

double busy(const plan::Estimate& e, Lane lane) { return e.busy[static_cast<std::size_t>(lane)]; }

}  // namespace

TEST_CASE("a step's seconds are what a hand computes") {
  plan::Scheduled s = by_hand();
  s.waits = {{2, 0}, {0, 3}};  // forward on gather, next step's gather on update
  const plan::Estimate e = plan::simulate(s, slow);
  CHECK(e.seconds == doctest::Approx(11 + 50 + 20));
  CHECK(busy(e, Lane::compute) == doctest::Approx(6 + 50 + 20));
  CHECK(busy(e, Lane::net) == doctest::Approx(11));
}

TEST_CASE("a gather that waits for nothing hides under the step before it") {
  plan::Scheduled s = by_hand();
  s.waits = {{2, 0}};
  CHECK(plan::simulate(s, slow).seconds == doctest::Approx(6 + 50 + 20));
}

TEST_CASE("a repeated phase costs its repeats") {
  plan::Scheduled s = by_hand();
  s.waits = {{2, 0}, {0, 2}};  // each gather behind the forward before it
  s.program.phases[0].repeat = 3;
  // The first gather of a step hides under the update and the feed.
  CHECK(plan::simulate(s, slow).seconds == doctest::Approx(20 + 6 + 50 + 2 * (11 + 50)));
  CHECK(busy(plan::simulate(s, slow), Lane::net) == doctest::Approx(33));
}

TEST_CASE("overlap never makes a modelled step slower") {
  int faster = 0;
  for (std::size_t number = 0; number < toy::cases; number += 7) {
    toy::Case c = toy::numbered(number);
    INFO(toy::describe(c));
    for (const double net : {1e8, 1e9, 1e10}) {
      const plan::Machine machine{8e10, 1.5e10, net, 2e-6};
      c.overlap = false;
      const plan::Plan off = plan::make_plan(toy::setup(c));
      c.overlap = true;
      const plan::Plan on = plan::make_plan(toy::setup(c));
      const double without = plan::simulate(off.train, machine).seconds;
      const double with = plan::simulate(on.train, machine).seconds;
      CHECK(with <= without * (1 + 1e-9));
      faster += with < without * (1 - 1e-9) ? 1 : 0;
    }
  }
  CHECK(faster > 0);
}

TEST_CASE("a modelled step is at least its busiest lane and at most all lanes in turn") {
  for (std::size_t number = 0; number < toy::cases; number += 31) {
    const toy::Case c = toy::numbered(number);
    INFO(toy::describe(c));
    const plan::Estimate e = plan::simulate(plan::make_plan(toy::setup(c)).train, {});
    double most = 0, sum = 0;
    for (const double lane : e.busy) {
      most = std::max(most, lane);
      sum += lane;
    }
    CHECK(e.seconds >= most * (1 - 1e-9));
    CHECK(e.seconds <= sum * (1 + 1e-9));
  }
}

}  // namespace sherd
