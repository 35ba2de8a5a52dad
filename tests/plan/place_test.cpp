// Offsets and lives, against a second computation that knows nothing of the first.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>

#include "plan/toy_model.hpp"
#include "sherd/model/gpt2.hpp"

namespace sherd {
namespace {

using plan::Buffer;
using plan::Placement;
using plan::Scheduled;
using plan::Tier;

std::vector<const Scheduled*> programs(const plan::Plan& plan) {
  std::vector<const Scheduled*> all{&plan.train};
  if (plan.evaluate) all.push_back(&*plan.evaluate);
  return all;
}

std::vector<bool> touched(const Scheduled& s) {
  std::vector<bool> found(s.program.buffers.size(), false);
  for (const plan::Step& step : s.program.steps) {
    for (const plan::Access& a : step.accesses) found[plan::index_of(a.buffer)] = true;
  }
  return found;
}

// Two buffers of one tier that live at the same time and share bytes.
std::string overlap(const Scheduled& s) {
  const std::vector<bool> used = touched(s);
  for (std::size_t a = 0; a < used.size(); ++a) {
    for (std::size_t b = 0; b < a; ++b) {
      const Buffer &x = s.program.buffers[a], &y = s.program.buffers[b];
      const Placement &p = s.at[a], &q = s.at[b];
      if (!(used[a] || x.persistent) || !(used[b] || y.persistent) || x.tier != y.tier) continue;
      const bool together = p.born <= q.dies && q.born <= p.dies;
      if (together && p.offset < q.offset + y.size && q.offset < p.offset + x.size)
        return x.name + " lies on " + y.name;
    }
  }
  return {};
}

// Bytes of what only other programs keep.
Bytes kept_elsewhere(const plan::Plan& plan, const Scheduled& here) {
  std::map<std::string, Bytes> kept;
  for (const Scheduled* s : programs(plan)) {
    for (const Buffer& buffer : s->program.buffers)
      if (buffer.persistent) kept[buffer.name] = buffer.size;
  }
  for (const Buffer& buffer : here.program.buffers) kept.erase(buffer.name);
  Bytes bytes = 0;
  for (const auto& [name, size] : kept) bytes += size;
  return bytes;
}

// Live bytes before each step, from the lives alone.
Bytes most_live(const Scheduled& s) {
  const std::vector<bool> used = touched(s);
  Bytes most = 0;
  for (std::uint32_t step = 0; step < s.program.steps.size(); ++step) {
    Bytes live = 0;
    for (std::size_t b = 0; b < used.size(); ++b) {
      const bool now = s.program.buffers[b].persistent ||
                       (used[b] && s.at[b].born <= step && step <= s.at[b].dies);
      if (now) live += s.program.buffers[b].size;
    }
    most = std::max(most, live);
  }
  return most;
}

plan::Setup gpt2_setup(std::int64_t layers, int stage, plan::Recompute recompute) {
  const model::Gpt2Config config{layers, 12, 768, 3072, 50257, 1024};
  plan::ShardingConfig sharding;
  sharding.zero_stage = stage;
  sharding.overlap = plan::Overlap::on;
  plan::MemoryConfig memory;
  memory.recompute = recompute;
  const Target target{DeviceKind::cpu, DType::f32, 2};
  plan::Setup setup = plan::make_setup(model::declare(model::gpt2(config), target, {8, 1024}),
                                       sharding, memory, {}, {}, 4);
  setup.grad_accum = 2;
  setup.sample = {1024, DType::i32, 1024, DType::i32};
  setup.eval_batches = 2;
  return setup;
}

}  // namespace

TEST_CASE("placed buffers that live together never share a byte and start on 256") {
  for (std::size_t number = 0; number < toy::cases; number += 11) {
    const toy::Case c = toy::numbered(number);
    INFO(toy::describe(c));
    const plan::Plan plan = plan::make_plan(toy::setup(c));
    Bytes end = 0, live = 0;
    for (const Scheduled* s : programs(plan)) {
      const std::string found = overlap(*s);
      REQUIRE_MESSAGE(found.empty(), found);
      for (std::size_t b = 0; b < s->at.size(); ++b) {
        REQUIRE(s->at[b].offset % plan::alignment == 0);
        end = std::max(end, s->at[b].offset + s->program.buffers[b].size);
      }
      live = std::max(live, most_live(*s) + kept_elsewhere(plan, *s));
    }
    const plan::MemoryPlan& memory = plan.memory;
    REQUIRE(memory.arena[0] == end);
    REQUIRE(memory.live(Tier::device) == live);
    REQUIRE(memory.arena[0] >= live);
    for (std::size_t tier = 1; tier < memory::tiers; ++tier) REQUIRE(memory.arena[tier] == 0);
  }
}

TEST_CASE(
    "a buffer lives from its first to its last access, and two compute steps more elsewhere") {
  toy::Case c;
  c.stage = 3;
  for (const bool overlap : {true, false}) {
    c.overlap = overlap;
    const plan::Plan plan = plan::make_plan(toy::setup(c));
    const plan::Program& program = plan.train.program;
    for (std::size_t b = 0; b < program.buffers.size(); ++b) {
      if (program.buffers[b].persistent) continue;
      std::vector<std::uint32_t> uses;
      for (std::uint32_t i = 0; i < program.steps.size(); ++i) {
        for (const plan::Access& a : program.steps[i].accesses) {
          if (plan::index_of(a.buffer) == b) uses.push_back(i);
        }
      }
      REQUIRE(!uses.empty());
      CHECK(plan.train.at[b].born == uses.front());
      int later = 0;
      for (std::uint32_t i = uses.back() + 1; i <= plan.train.at[b].dies; ++i)
        later += program.steps[i].lane == plan::Lane::compute ? 1 : 0;
      const bool beside = program.steps[uses.back()].lane != plan::Lane::compute;
      const bool at_the_end = plan.train.at[b].dies + 1 == program.phases[0].last;
      CHECK(later <= 2);
      if (!beside || !overlap) CHECK(plan.train.at[b].dies == uses.back());
      if (beside && overlap) CHECK((later == 2 || at_the_end));
    }
  }
}

TEST_CASE("persistent buffers lie at equal offsets in every program, below all transients") {
  toy::Case c;
  c.eval_batches = 4;
  for (c.stage = 0; c.stage <= 3; ++c.stage) {
    const plan::Plan plan = plan::make_plan(toy::setup(c));
    std::map<std::string, Bytes> offsets;
    Bytes top = 0, shared = 0;
    for (const Scheduled* s : programs(plan)) {
      for (std::size_t b = 0; b < s->at.size(); ++b) {
        const Buffer& buffer = s->program.buffers[b];
        if (!buffer.persistent) continue;
        const auto [at, fresh] = offsets.try_emplace(buffer.name, s->at[b].offset);
        shared += fresh ? 0 : 1;
        CHECK(at->second == s->at[b].offset);
        top = std::max(top, s->at[b].offset + buffer.size);
      }
    }
    CHECK(shared >= 5);  // the parameters and the votes
    for (const Scheduled* s : programs(plan)) {
      const std::vector<bool> used = touched(*s);
      for (std::size_t b = 0; b < s->at.size(); ++b)
        if (used[b] && !s->program.buffers[b].persistent) CHECK(s->at[b].offset >= top);
    }
  }
}

TEST_CASE("persistent buffers of one name and two sizes are refused") {
  plan::Program a, b;
  a.buffers.push_back({"p", Tier::device, plan::Use::params, DType::f32, 512, true});
  b.buffers.push_back({"p", Tier::device, plan::Use::params, DType::f32, 768, true});
  const std::vector<plan::Program> both{a, b};
  CHECK_THROWS_AS((void)plan::place(both, 0), UsageError);
}

TEST_CASE("a plan made twice is the same plan, on every rank") {
  for (std::size_t number = 0; number < toy::cases; number += 97) {
    const toy::Case c = toy::numbered(number);
    INFO(toy::describe(c));
    const plan::Plan one = plan::make_plan(toy::setup(c));
    for (Rank rank = 0; rank < c.world; ++rank) {
      plan::Setup setup = toy::setup(c);
      setup.rank = rank;
      const plan::Plan other = plan::make_plan(std::move(setup));
      CHECK(listing(one.train) == listing(other.train));
      CHECK(one.train.waits == other.train.waits);
      CHECK(one.memory.arena == other.memory.arena);
      for (std::size_t b = 0; b < one.train.at.size(); ++b)
        REQUIRE(one.train.at[b].offset == other.train.at[b].offset);
    }
  }
}

TEST_CASE("a plan's size does not depend on the number of micro-steps from three on") {
  for (int stage = 0; stage <= 3; ++stage) {
    for (const plan::ReduceEvery reduce : {plan::ReduceEvery::step, plan::ReduceEvery::micro}) {
      toy::Case c;
      c.stage = stage;
      c.reduce = reduce;
      c.accum = 3;
      const plan::Plan three = plan::make_plan(toy::setup(c));
      c.accum = 4;
      const plan::Plan four = plan::make_plan(toy::setup(c));
      CHECK(three.train.program.steps.size() == four.train.program.steps.size());
      CHECK(three.memory.arena == four.memory.arena);
      for (const std::uint32_t many : {5u, 64u, 4096u}) {
        c.accum = many;
        const plan::Plan plan = plan::make_plan(toy::setup(c));
        CHECK(plan.train.program.steps.size() == three.train.program.steps.size());
        CHECK(plan.train.program.buffers.size() == three.train.program.buffers.size());
        CHECK(plan.memory.arena == three.memory.arena);
        CHECK(plan.train.waits == four.train.waits);
      }
    }
  }
}

TEST_CASE("fragmentation of GPT-2 plans stays under two percent") {
  for (const plan::Recompute recompute :
       {plan::Recompute::none, plan::Recompute::selective, plan::Recompute::block}) {
    for (int stage = 0; stage <= 3; ++stage) {
      for (const std::int64_t layers : {2, 12}) {
        const plan::Plan plan = plan::make_plan(gpt2_setup(layers, stage, recompute));
        const double arena = static_cast<double>(plan.memory.arena[0]);
        const double live = static_cast<double>(plan.memory.live(Tier::device));
        INFO("layers " << layers << " stage " << stage << " recompute "
                       << static_cast<int>(recompute) << ": " << arena / live - 1);
        CHECK(arena <= 1.02 * live);
      }
    }
  }
}

}  // namespace sherd
