#include "sherd/plan/simulate.hpp"

#include <doctest/doctest.h>

#include "plan/toy_model.hpp"
#include "sherd/plan/reserve.hpp"

namespace sherd {
namespace {

using plan::BufferId;
using plan::Group;
using plan::Lane;
using plan::Mode;
using plan::Role;
using plan::Verb;

const plan::Machine slow{10, 10, 100, 1};  // FLOP/s, bytes/s, net bytes/s, net latency
constexpr plan::Pace alone{};              // fp32, lanes at once

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
  const plan::Estimate e = plan::simulate(s, slow, alone);
  CHECK(e.seconds == doctest::Approx(11 + 50 + 20));
  CHECK(busy(e, Lane::compute) == doctest::Approx(6 + 50 + 20));
  CHECK(busy(e, Lane::net) == doctest::Approx(11));
}

TEST_CASE("a gather that waits for nothing hides under the step before it") {
  plan::Scheduled s = by_hand();
  s.waits = {{2, 0}};
  CHECK(plan::simulate(s, slow, alone).seconds == doctest::Approx(6 + 50 + 20));
}

TEST_CASE("a repeated phase costs its repeats") {
  plan::Scheduled s = by_hand();
  s.waits = {{2, 0}, {0, 2}};  // each gather behind the forward before it
  s.program.phases[0].repeat = 3;
  // The first gather of a step hides under the update and the feed.
  CHECK(plan::simulate(s, slow, alone).seconds == doctest::Approx(20 + 6 + 50 + 2 * (11 + 50)));
  CHECK(busy(plan::simulate(s, slow, alone), Lane::net) == doctest::Approx(33));
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
      const double without = plan::simulate(off, machine).seconds;
      const double with = plan::simulate(on, machine).seconds;
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
    const plan::Estimate e = plan::simulate(plan::make_plan(toy::setup(c)), {});
    double most = 0, sum = 0;
    for (const double lane : e.busy) {
      most = std::max(most, lane);
      sum += lane;
    }
    CHECK(e.seconds >= most * (1 - 1e-9));
    CHECK(e.seconds <= sum * (1 + 1e-9));
  }
}

TEST_CASE("without overlap a step is the sum of its lanes") {
  plan::Scheduled s = by_hand();
  s.waits = {{2, 0}};
  const plan::Estimate e = plan::simulate(s, slow, {DType::f32, plan::Overlap::off});
  CHECK(e.seconds == doctest::Approx(11 + 6 + 50 + 20));
  CHECK(busy(e, Lane::net) == doctest::Approx(11));
  for (std::size_t number = 0; number < toy::cases; number += 31) {
    toy::Case c = toy::numbered(number);
    c.overlap = false;
    INFO(toy::describe(c));
    const plan::Estimate off = plan::simulate(plan::make_plan(toy::setup(c)), {});
    double sum = 0;
    for (const double lane : off.busy) sum += lane;
    CHECK(off.seconds == doctest::Approx(sum));
  }
}

TEST_CASE("products run at the rate of their operands' type") {
  plan::Machine machine = slow;
  const plan::Scheduled s = by_hand();
  const auto products = [&](DType compute) {
    const plan::Estimate e = plan::simulate(s, machine, {compute, plan::Overlap::on});
    return busy(e, Lane::compute) - 6 - 20;
  };
  CHECK(products(DType::bf16) == doctest::Approx(50));  // no rate of its own: as fp32
  machine.half_flops = 25;
  CHECK(products(DType::f32) == doctest::Approx(50));
  CHECK(products(DType::bf16) == doctest::Approx(500.0 / 25));
  CHECK(products(DType::f16) == doctest::Approx(500.0 / 25));
  machine.half_flops = 1000;  // now bound by the bytes it touches
  CHECK(products(DType::bf16) == doctest::Approx(160.0 / 10));
}

namespace {

// fetch 100 bytes file -> staging; update them on the host: read and written; evict 60 to the
// device; evict them to the file.
plan::Scheduled streamed() {
  plan::Scheduled s;
  s.program.name = "train";
  const auto buffer = [](const char* name, plan::Tier tier, Bytes size) {
    return plan::Buffer{name, tier, plan::Use::staging, DType::u8, size, true};
  };
  s.program.buffers = {buffer("file", plan::Tier::file, 500),
                       buffer("staged", plan::Tier::host, 100),
                       buffer("param", plan::Tier::device, 60)};
  const BufferId file{0}, staged{1}, param{2};
  const auto step = [](Verb verb, Lane lane, std::vector<plan::Access> accesses) {
    return plan::Step{verb, lane, Group::none, 0, 0, std::move(accesses), 0};
  };
  s.program.steps = {
      step(Verb::fetch, Lane::disk, {{file, Mode::read, 200, 100}, {staged, Mode::write, 0, 100}}),
      step(Verb::update, Lane::host, {{staged, Mode::update, 0, 100}}),
      step(Verb::fetch, Lane::up, {{staged, Mode::read, 0, 60}, {param, Mode::write, 0, 60}}),
      step(Verb::evict, Lane::disk, {{staged, Mode::read, 0, 100}, {file, Mode::write, 200, 100}})};
  s.program.phases = {{"update", 0, 4, 1, Lane::compute}};
  s.at.resize(3);
  return s;
}

}  // namespace

TEST_CASE("copies between tiers run at their link's rate, and updates on the host at its own") {
  plan::Scheduled s = streamed();
  s.waits = {{0, 3}, {1, 0}, {2, 1}, {3, 1}};
  plan::Machine machine = slow;
  const auto simulate = [&] { return plan::simulate(s, machine, alone); };
  // All one memory of 10 bytes/s, read and written.
  CHECK(busy(simulate(), Lane::disk) == doctest::Approx(20 + 20));
  CHECK(busy(simulate(), Lane::host) == doctest::Approx(20));
  CHECK(busy(simulate(), Lane::up) == doctest::Approx(12));
  machine.disk_bandwidth = 4;
  machine.host_bandwidth = 15;
  machine.host_update_bandwidth = 8;
  CHECK(busy(simulate(), Lane::disk) == doctest::Approx(25 + 25));
  CHECK(busy(simulate(), Lane::host) == doctest::Approx(25));
  CHECK(busy(simulate(), Lane::up) == doctest::Approx(4));
  CHECK(simulate().seconds == doctest::Approx(25 + 25 + 25));  // `up` beside the second `disk`
  s.program.steps[1].lane = Lane::compute;
  CHECK(busy(simulate(), Lane::compute) == doctest::Approx(20));
}

TEST_CASE("a copy through pinned memory counts once, whichever way it goes") {
  plan::Scheduled s = streamed();
  s.program.buffers[1].tier = plan::Tier::pinned;
  std::swap(s.program.steps[2].accesses[0].mode, s.program.steps[2].accesses[1].mode);
  plan::Machine machine = slow;
  machine.host_bandwidth = 15;
  CHECK(busy(plan::simulate(s, machine, alone), Lane::up) == doctest::Approx(4));
}

TEST_CASE("collectives inside one machine run at its own links' rate") {
  plan::Machine machine = slow;
  machine.ranks = 8;
  const auto net = [&](int world) {
    return busy(plan::simulate(by_hand(), machine, {DType::f32, plan::Overlap::on, world}),
                Lane::net);
  };
  CHECK(net(8) == doctest::Approx(11));
  machine.local_bandwidth = 500;
  CHECK(net(8) == doctest::Approx(1 + 2));
  CHECK(net(9) == doctest::Approx(11));
}

TEST_CASE("products reach the stated part of the peak and nothing else does") {
  plan::Machine machine = slow;
  machine.efficiency = 0.25;
  const plan::Estimate e = plan::simulate(by_hand(), machine, alone);
  CHECK(busy(e, Lane::compute) == doctest::Approx(6 + 200 + 20));
  CHECK(busy(e, Lane::net) == doctest::Approx(11));
}

TEST_CASE("the overlap and the type a plan is simulated with are its setup's") {
  toy::Case c;
  c.precision = optim::Precision::bf16;
  CHECK(plan::pace_of(toy::setup(c)).compute == DType::bf16);
  CHECK(plan::pace_of(toy::setup(c)).overlap == plan::Overlap::on);
  c.overlap = false;
  CHECK(plan::pace_of(toy::setup(c)).overlap == plan::Overlap::off);
}

TEST_CASE("a machine has a name, and its rates a source") {
  for (const char* name : {"cpu", "h200"}) {
    const plan::Machine machine = plan::machine(name);
    CHECK(machine.name == name);
    CHECK(!machine.source.empty());
    CHECK(machine.flops > 0);
    CHECK(machine.memory_bandwidth > 0);
    CHECK(machine.net_bandwidth > 0);
  }
  CHECK(plan::kind_of_rates(plan::machine("cpu")) == "measured");
  CHECK(plan::kind_of_rates(plan::machine("h200")) == "published peaks");
  CHECK(plan::machine("h200").product_flops(DType::bf16) == 989.4e12);
  CHECK(plan::machine("h200").product_flops(DType::f32) == 67e12);
  CHECK(plan::machine_of({DeviceKind::cuda, DType::bf16, 1}).name == "h200");
  CHECK(plan::machine_of({DeviceKind::cpu, DType::bf16, 1}).name == "cpu");
  CHECK_THROWS_AS((void)plan::machine("h100"), UsageError);
}

TEST_CASE("the reserve of a GPU is declared and not per thread") {
  const Target one{DeviceKind::cuda, DType::bf16, 1}, many{DeviceKind::cuda, DType::bf16, 16};
  CHECK(plan::runtime_reserve(one) == 1536 * mib);
  CHECK(plan::runtime_reserve(one) == plan::runtime_reserve(many));
}

}  // namespace sherd
