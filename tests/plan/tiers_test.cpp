// States on host and file, looked up in finished plans.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>

#include "plan/toy_model.hpp"
#include "sherd/io/record_file.hpp"
#include "sherd/plan/tiles.hpp"

namespace sherd {
namespace {

using plan::Access;
using plan::Lane;
using plan::Mode;
using plan::Program;
using plan::Role;
using plan::Step;
using plan::Tier;
using plan::Use;
using plan::Verb;

constexpr std::size_t draws = 400;

Tier tier_of(const Program& program, const Access& access) {
  return program.at(access.buffer).tier;
}

Bytes arena(const plan::Plan& plan, Tier tier) {
  return plan.memory.arena[static_cast<std::size_t>(tier)];
}

toy::Case offloaded_optimizer(plan::Offload where) {
  toy::Case c;
  c.world = 1;
  c.precision = optim::Precision::bf16;
  c.memory.offload_optimizer = where;
  c.memory.offload_grads = plan::OffloadOr::none;
  c.memory.offload_tile = 1024;
  return c;
}

}  // namespace

TEST_CASE("no plan with states on other tiers has a race") {
  std::set<int> seen;
  for (std::size_t number = 0; number < draws; ++number) {
    const toy::Case c = toy::offloaded(number);
    INFO("draw " << number << ": " << toy::describe(c));
    const plan::Plan plan = plan::make_plan(toy::setup(c));
    const auto found = plan::races(plan.train.program, plan.train.at, plan.train.waits);
    REQUIRE_MESSAGE(found.empty(), found.front());
    if (plan.evaluate)
      REQUIRE(plan::races(plan.evaluate->program, plan.evaluate->at, plan.evaluate->waits).empty());
    for (const Step& step : plan.train.program.steps)
      seen.insert(static_cast<int>(step.verb) * 16 + static_cast<int>(step.lane));
  }
  for (const Lane lane : {Lane::up, Lane::disk})
    CHECK(seen.contains(static_cast<int>(Verb::fetch) * 16 + static_cast<int>(lane)));
  for (const Lane lane : {Lane::down, Lane::disk})
    CHECK(seen.contains(static_cast<int>(Verb::evict) * 16 + static_cast<int>(lane)));
  for (const Lane lane : {Lane::host, Lane::compute})
    CHECK(seen.contains(static_cast<int>(Verb::update) * 16 + static_cast<int>(lane)));
}

TEST_CASE("a copy moves by one tier, on the lane of its direction") {
  for (std::size_t number = 0; number < draws; number += 3) {
    const toy::Case c = toy::offloaded(number);
    INFO("draw " << number << ": " << toy::describe(c));
    const Program program = plan::train_program(toy::setup(c));
    for (const Step& step : program.steps) {
      if (step.verb != Verb::fetch && step.verb != Verb::evict) continue;
      const auto find = [&](Role role) {
        return *std::find_if(step.accesses.begin(), step.accesses.end(),
                             [&](const Access& a) { return a.role == role; });
      };
      const Tier from = tier_of(program, find(Role::from)), to = tier_of(program, find(Role::to));
      const bool disk = from == Tier::file || to == Tier::file;
      const bool fetch = step.verb == Verb::fetch;
      REQUIRE(step.lane == (disk ? Lane::disk : fetch ? Lane::up : Lane::down));
      if (disk) REQUIRE((fetch ? to : from) == Tier::host);
      if (from != to) REQUIRE((to < from) == fetch);
    }
  }
}

TEST_CASE("blocks, collectives and sums touch the device alone") {
  for (std::size_t number = 1; number < draws; number += 3) {
    const toy::Case c = toy::offloaded(number);
    INFO("draw " << number << ": " << toy::describe(c));
    const Program program = plan::train_program(toy::setup(c));
    for (const Step& step : program.steps) {
      if (step.verb == Verb::fetch || step.verb == Verb::evict || step.verb == Verb::update)
        continue;
      for (const Access& access : step.accesses) REQUIRE(tier_of(program, access) == Tier::device);
    }
  }
}

TEST_CASE("what goes to another tier is read there again") {
  for (std::size_t number = 0; number < draws; ++number) {
    const toy::Case c = toy::offloaded(number);
    INFO("draw " << number << ": " << toy::describe(c));
    const Program program = plan::make_plan(toy::setup(c)).train.program;
    using Place = std::pair<plan::BufferId, Bytes>;
    std::set<Place> evicted, read;
    for (const Step& step : program.steps) {
      for (const Access& access : step.accesses) {
        const plan::Buffer& buffer = program.at(access.buffer);
        if (buffer.tier == Tier::device || !buffer.persistent) continue;
        if (access.mode != Mode::write) read.insert({access.buffer, access.first});
        if (step.verb == Verb::evict && access.role == Role::to)
          evicted.insert({access.buffer, access.first});
      }
    }
    for (const Place& place : evicted)
      CHECK_MESSAGE(read.contains(place), program.at(place.first).name);
  }
}

TEST_CASE("an update finds its operands on one tier, but for the verdict") {
  for (std::size_t number = 2; number < draws; number += 3) {
    const toy::Case c = toy::offloaded(number);
    INFO("draw " << number << ": " << toy::describe(c));
    const Program program = plan::train_program(toy::setup(c));
    for (const Step& step : program.steps) {
      if (step.verb != Verb::update) continue;
      for (const Access& access : step.accesses) {
        if (access.role == Role::control) continue;
        REQUIRE(tier_of(program, access) == (step.lane == Lane::host ? Tier::host : Tier::device));
      }
    }
  }
}

TEST_CASE("updates cover what a rank holds once, whatever the placement") {
  for (std::size_t number = 0; number < draws; number += 2) {
    const toy::Case c = toy::offloaded(number);
    INFO("draw " << number << ": " << toy::describe(c));
    const plan::Setup setup = toy::setup(c);
    const Program program = plan::train_program(setup);
    std::map<std::uint16_t, std::map<std::uint64_t, std::uint64_t>> tiles;
    for (const Step& step : program.steps) {
      if (step.verb == Verb::update) tiles[step.subject][step.range.first] = step.range.count;
    }
    for (std::size_t b = 0; b < setup.layout.buckets().size(); ++b) {
      std::uint64_t at = setup.held(b).first;
      for (const auto& [first, count] : tiles[static_cast<std::uint16_t>(b)]) {
        REQUIRE(first == at);
        at += count;
      }
      REQUIRE(at == setup.held(b).end());
    }
  }
}

TEST_CASE("an optimizer on the host takes its bytes from the device, to the byte") {
  toy::Case resident = offloaded_optimizer(plan::Offload::none);
  const plan::Plan here = plan::make_plan(toy::setup(resident));
  const plan::Plan away = plan::make_plan(toy::setup(offloaded_optimizer(plan::Offload::host)));
  const auto optimizer = static_cast<std::size_t>(Use::optimizer);
  const Bytes state = 12 * here.setup.layout.padded();
  CHECK(plan::persistent_bytes(here.train.program)[optimizer] == state);
  CHECK(plan::persistent_bytes(away.train.program)[optimizer] == 0);
  CHECK(plan::persistent_bytes(away.train.program, Tier::host)[optimizer] == state);
  CHECK(arena(away, Tier::file) == 0);
}

TEST_CASE("a file holds a header block and whole blocks for each tile") {
  const plan::Plan plan = plan::make_plan(toy::setup(offloaded_optimizer(plan::Offload::file)));
  Bytes records = 0;
  for (std::size_t b = 0; b < plan.setup.layout.buckets().size(); ++b) {
    for (std::uint64_t left = plan.setup.layout.buckets()[b].numel; left > 0;) {
      const std::uint64_t tile = std::min<std::uint64_t>(left, 1024);
      records += 3 * (4096 + (4 * tile + 4095) / 4096 * 4096);
      left -= tile;
    }
  }
  CHECK(arena(plan, Tier::file) == records);
  for (std::size_t b = 0; b < plan.train.program.buffers.size(); ++b) {
    const plan::Buffer& buffer = plan.train.program.buffers[b];
    if (buffer.use == Use::staging || buffer.tier == Tier::file)
      CHECK(plan.train.at[b].offset % io::direct_block == 0);
  }
}

TEST_CASE("staging of an update does not grow with the model") {
  toy::Case c = offloaded_optimizer(plan::Offload::file);
  const Bytes tile =
      3 * io::record_bytes(4 * 1024) + 2 * io::direct_block * 2;  // + grad, parameter
  for (c.layers = 2; c.layers <= 8; c.layers *= 2) {
    const plan::Plan plan = plan::make_plan(toy::setup(c));
    CHECK(arena(plan, Tier::host) <= 3 * tile);
  }
}

TEST_CASE("an update from files reads and writes each record once, and moves 4 + 2 bytes beside") {
  const plan::Plan plan = plan::make_plan(toy::setup(offloaded_optimizer(plan::Offload::file)));
  const plan::Moves moves = plan::moved_bytes(plan.train.program);
  CHECK(moves.read == arena(plan, Tier::file));
  CHECK(moves.written == arena(plan, Tier::file));
  CHECK(moves.from_device == 4 * plan.setup.layout.padded());  // fp32 gradients
  CHECK(moves.to_device == 2 * plan.setup.layout.padded());    // bf16 parameters
}

TEST_CASE("a fraction keeps whole quanta of every shard on the device") {
  toy::Case c = offloaded_optimizer(plan::Offload::host);
  c.world = 3;
  c.stage = 1;
  c.memory.offload_fraction = 0.3;
  const plan::Setup setup = toy::setup(c);
  for (std::size_t b = 0; b < setup.layout.buckets().size(); ++b) {
    const shard::Range own = setup.held(b);
    std::uint64_t low = 0;
    for (const plan::Tile& tile : plan::tiles_of(setup, b, own)) {
      CHECK(tile.range.count % shard::quantum == 0);
      low += tile.low ? tile.range.count : 0;
    }
    const double share = static_cast<double>(low) / static_cast<double>(own.count);
    CHECK(share >= 0.3);
    CHECK(share <= 0.3 + static_cast<double>(shard::quantum) / static_cast<double>(own.count));
  }
}

TEST_CASE("8-bit moments take 260 bytes for 256 elements, split masters two for each") {
  toy::Case c = offloaded_optimizer(plan::Offload::host);
  c.moments = optim::Moments::int8;
  c.master = optim::Master::split;
  const plan::Plan plan = plan::make_plan(toy::setup(c));
  const Bytes padded = plan.setup.layout.padded();
  CHECK(plan::persistent_bytes(plan.train.program,
                               Tier::host)[static_cast<std::size_t>(Use::optimizer)] ==
        2 * padded + 2 * (padded / 256 * 260));
  CHECK(plan.setup.formats.optimizer_bytes() == doctest::Approx(2 + 2 * 260.0 / 256));
}

TEST_CASE("activations of a deep network wait on the host, those around the loss do not") {
  toy::Case c;
  c.world = 1;
  c.layers = 6;
  const plan::Plan here = plan::make_plan(toy::setup(c));
  c.memory.offload_activations = plan::OffloadActivations::host;
  const plan::Plan away = plan::make_plan(toy::setup(c));
  CHECK(arena(away, Tier::device) < arena(here, Tier::device));
  CHECK(arena(away, Tier::host) > 0);
  const std::size_t blocks = away.setup.model.blocks.size();
  std::set<std::string> parked;
  for (const plan::Buffer& buffer : away.train.program.buffers) {
    if (buffer.tier == Tier::host) parked.insert(buffer.name);
  }
  CHECK(parked.contains("x.embed.host"));
  CHECK_FALSE(parked.contains("x." + away.setup.model.blocks[blocks - 2].name + ".host"));
  CHECK(plan::races(away.train.program, away.train.at, away.train.waits).empty());
}

}  // namespace sherd
