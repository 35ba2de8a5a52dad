// The copy of a rank's states that a checkpoint is written from, looked up in finished plans.
#include <doctest/doctest.h>

#include <map>
#include <set>
#include <string>

#include "plan/toy_model.hpp"
#include "sherd/plan/tiles.hpp"
#include "sherd/shard/packed.hpp"

namespace sherd {
namespace {

using plan::Access;
using plan::Role;
using plan::Step;
using plan::Verb;

constexpr std::size_t draws = 200;

plan::Setup saving(std::size_t number, Rank rank, Bytes ring) {
  plan::Setup setup = toy::setup(toy::offloaded(number));
  setup.rank = rank;
  setup.saves = true;
  setup.snapshot_bytes = ring;
  return setup;
}

const Access* find(const Step& step, Role role) {
  for (const Access& access : step.accesses)
    if (access.role == role) return &access;
  return nullptr;
}

Bytes host_arena(const plan::Plan& plan) {
  return plan.memory.arena[static_cast<std::size_t>(plan.setup.host_tier())];
}

}  // namespace

TEST_CASE("no snapshot has a race") {
  for (std::size_t number = 0; number < draws; ++number) {
    INFO("draw " << number);
    const plan::Plan plan = plan::make_plan(saving(number, 0, number % 2 == 0 ? 0 : gib));
    REQUIRE(plan.snapshot);
    CHECK(plan::races(plan.snapshot->program, plan.snapshot->at, plan.snapshot->waits).empty());
    CHECK(plan::races(plan.train.program, plan.train.at, plan.train.waits).empty());
  }
}

TEST_CASE("the ranks' snapshots hold every element of every kept state once") {
  for (std::size_t number = 0; number < draws; ++number) {
    INFO("draw " << number);
    const plan::Setup first = saving(number, 0, gib);
    std::map<std::pair<std::size_t, int>, std::uint64_t> seen;  // parameter and state: elements
    std::set<Bytes> rings;
    for (Rank rank = 0; rank < first.world(); ++rank) {
      const plan::Setup setup = saving(number, rank, gib);
      rings.insert(plan::snapshot_ring(setup));
      const plan::Plan plan = plan::make_plan(setup);
      std::set<std::tuple<std::size_t, int, std::uint64_t>> places;
      for (const Step& step : plan.snapshot->program.steps) {
        const Access* from = step.verb == Verb::evict ? find(step, Role::from) : nullptr;
        if (from == nullptr) continue;
        for (const shard::Segment& s : setup.layout.segments(step.subject, step.range)) {
          seen[{s.param, from->index}] += s.count;
          CHECK(places.insert({s.param, from->index, s.in_param}).second);
        }
      }
    }
    CHECK(rings.size() == 1);  // arenas are planned alike
    const int kept = (first.formats.master && first.formats.master_type == DType::f32 ? 0 : 1) +
                     (first.formats.master ? 1 : 0) + first.formats.moments;
    CHECK(seen.size() == first.model.params.size() * static_cast<std::size_t>(kept));
    for (const auto& [what, elements] : seen)
      CHECK(elements == static_cast<std::uint64_t>(first.model.params[what.first].shape.numel()));
  }
}

TEST_CASE("a snapshot goes through its ring from the first byte on, round and round") {
  for (std::size_t number = 0; number < draws; ++number) {
    INFO("draw " << number);
    for (const Bytes asked : {Bytes{0}, Bytes{gib}}) {
      const plan::Setup setup = saving(number, 0, asked);
      const plan::Plan plan = plan::make_plan(setup);
      const Bytes ring = plan::snapshot_ring(setup);
      Bytes at = 0;
      for (const Step& step : plan.snapshot->program.steps) {
        if (step.verb != Verb::evict) continue;
        for (const Access& access : step.accesses) {
          if (access.role == Role::from) continue;
          CHECK(access.first == at % ring);
          at += access.size;
        }
      }
      CHECK(at >= ring);  // all of what is planned is touched
    }
  }
}

TEST_CASE("saving costs the ring and, where states are on file, what their records are read into") {
  for (std::size_t number = 0; number < draws; ++number) {
    const plan::Setup setup = saving(number, 0, gib);
    plan::Setup without = setup;
    without.saves = false;
    const plan::Plan with = plan::make_plan(setup), plain = plan::make_plan(without);
    CHECK(host_arena(with) >= host_arena(plain) + plan::snapshot_ring(setup) - 4096);
    CHECK(with.need(memory::Tier::device) == plain.need(memory::Tier::device));
    CHECK(with.need(memory::Tier::file) == plain.need(memory::Tier::file));
  }
}

}  // namespace sherd
