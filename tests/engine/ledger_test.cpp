// What the ledger counted is what was planned, to the byte; a plan that lies is found out.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <new>
#include <numeric>

#include "engine/toy_job.hpp"
#include "support/awkward_gpt2.hpp"
#include "support/thread_ranks.hpp"

namespace {

thread_local std::uint64_t allocations = 0;  // of this thread, since it started

void* counted(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size > 0 ? size : 1)) return memory;
  throw std::bad_alloc();
}
void* counted(std::size_t size, std::align_val_t alignment) {
  ++allocations;
  void* memory = nullptr;
  if (posix_memalign(&memory, static_cast<std::size_t>(alignment), size) == 0) return memory;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t size) { return counted(size); }
void* operator new[](std::size_t size) { return counted(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return counted(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return counted(size); }
void* operator new(std::size_t size, std::align_val_t at) { return counted(size, at); }
void* operator new[](std::size_t size, std::align_val_t at) { return counted(size, at); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

using namespace sherd;
using namespace sherd::test;

namespace {

launch::RunConfig staged(int stage, std::int64_t accum = 1) {
  launch::RunConfig config = awkward_config(2);
  config.sharding.zero_stage = stage;
  config.sharding.bucket_bytes = 150 * kib;
  config.batch.grad_accum = accum;
  return config;
}

launch::Job validated_job() {
  launch::Job job = awkward_job(awkward_gpt2(), 13);
  job.validate = std::make_unique<MadeTokens>(7, 5);
  return job;
}

Bytes sum(const plan::ByUse& bytes) {
  return std::accumulate(bytes.begin(), bytes.end(), Bytes{0});
}

/// Bytes of a program that live at `step`, by use.
plan::ByUse live_at(const plan::Scheduled& scheduled, std::uint32_t step) {
  plan::ByUse live{};
  for (std::size_t b = 0; b < scheduled.at.size(); ++b) {
    const plan::Buffer& buffer = scheduled.program.buffers[b];
    if (scheduled.at[b].born <= step && step <= scheduled.at[b].dies)
      live[static_cast<std::size_t>(buffer.use)] += buffer.size;
  }
  return live;
}

/// The first step where most bytes live.
std::uint32_t peak_step(const plan::Scheduled& scheduled) {
  std::uint32_t best = 0;
  for (std::uint32_t i = 1; i < scheduled.program.steps.size(); ++i) {
    if (sum(live_at(scheduled, i)) > sum(live_at(scheduled, best))) best = i;
  }
  return best;
}

Bytes end_of(const plan::Scheduled& scheduled, std::size_t buffer) {
  return scheduled.at[buffer].offset + scheduled.program.buffers[buffer].size;
}

/// The buffer that ends highest: where the arena does.
std::size_t top_buffer(const plan::Scheduled& scheduled) {
  std::size_t top = 0;
  for (std::size_t b = 1; b < scheduled.at.size(); ++b) {
    if (end_of(scheduled, b) > end_of(scheduled, top)) top = b;
  }
  return top;
}

/// A program's own figures, added up here: the plan has only the largest of both programs.
void check_program(const memory::TierUse& measured, const plan::Scheduled& scheduled) {
  CHECK(measured.arena == end_of(scheduled, top_buffer(scheduled)));
  CHECK(measured.peak == live_at(scheduled, peak_step(scheduled)));
  CHECK(measured.persistent == plan::persistent_bytes(scheduled.program));
}

/// Persistent buffers cut to what the program reads of them: only updates touch the padding.
plan::Scheduled without_padding(plan::Scheduled scheduled) {
  for (plan::Buffer& buffer : scheduled.program.buffers) {
    if (buffer.persistent) buffer.size = 0;
  }
  for (const plan::Step& step : scheduled.program.steps) {
    for (const plan::Access& access : step.accesses) {
      plan::Buffer& buffer = scheduled.program.at(access.buffer);
      if (buffer.persistent) buffer.size = std::max(buffer.size, access.first + access.size);
    }
  }
  return scheduled;
}

bool agrees(const memory::TierUse& measured, const plan::MemoryPlan& plan) {
  return measured.arena == plan.arena[0] && measured.peak == plan.peak[0];
}

using Adjust = std::function<void(plan::Plan&, Rank)>;

/// What rank 0 measured in one step of training, of a plan changed behind the planner's back.
struct Measured {
  memory::TierUse use;
  plan::MemoryPlan planned;
};
Measured one_step(const Adjust& adjust) {
  ThreadRun run{.config = staged(3), .job = [](Rank) { return validated_job(); }};
  run.adjust = adjust;
  run.slack = mib;
  ThreadRanks ranks(run);
  Measured measured;
  rethrow(ranks.run([&](ThreadRank& seat) {
    seat.engine.step();
    seat.engine.evaluate();
    if (seat.rank == 0)
      measured = {seat.engine.ledger().measured(memory::Tier::device), seat.engine.plan().memory};
  }));
  return measured;
}

/// Makes every use of the buffer `extra` bytes longer than it was placed.
void enlarge(plan::Program& program, std::size_t buffer, Bytes extra) {
  program.buffers[buffer].size += extra;
  for (plan::Step& step : program.steps) {
    for (plan::Access& access : step.accesses) {
      if (plan::index_of(access.buffer) == buffer) access.size += extra;
    }
  }
}

bool is_activation(const plan::Buffer& buffer) {
  return !buffer.persistent && buffer.use == plan::Use::activations;
}

/// Allocations of each rank's thread in each of five steps of the toy network.
std::vector<std::vector<std::uint64_t>> allocations_of_steps(int world, int stage) {
  launch::RunConfig config = awkward_config(world);
  config.sharding.zero_stage = stage;
  config.batch.steps = 5;
  const ThreadRun run{.config = config, .job = [](Rank) { return toy_job(); }};
  ThreadRanks ranks(run);
  std::vector<std::vector<std::uint64_t>> counts(static_cast<std::size_t>(world));
  for (auto& count : counts) count.reserve(5);
  rethrow(ranks.run([&](ThreadRank& seat) {
    for (int i = 0; i < 5; ++i) {
      const std::uint64_t before = allocations;
      seat.engine.step();
      counts[static_cast<std::size_t>(seat.rank)].push_back(allocations - before);
    }
  }));
  return counts;
}

}  // namespace

TEST_CASE("training and evaluation hold what was planned, together and each alone") {
  for (const int stage : {0, 1, 2, 3}) {
    CAPTURE(stage);
    const launch::RunConfig config = staged(stage);
    const ThreadRun run{.config = config, .job = [](Rank) { return validated_job(); }};
    ThreadRanks trained(run), evaluated(run), both(run);
    std::array<memory::TierUse, 2> train, evaluate;
    rethrow(trained.run([&](ThreadRank& seat) {
      seat.engine.step();
      train[static_cast<std::size_t>(seat.rank)] =
          seat.engine.ledger().measured(memory::Tier::device);
    }));
    rethrow(evaluated.run([&](ThreadRank& seat) {
      seat.engine.evaluate();
      evaluate[static_cast<std::size_t>(seat.rank)] =
          seat.engine.ledger().measured(memory::Tier::device);
    }));
    std::array<bool, 2> agreed{};
    rethrow(both.run([&](ThreadRank& seat) {
      seat.engine.evaluate();
      seat.engine.step();
      agreed[static_cast<std::size_t>(seat.rank)] =
          agrees(seat.engine.ledger().measured(memory::Tier::device), seat.prepared.plan.memory);
    }));
    for (std::size_t rank = 0; rank < 2; ++rank) {
      const plan::Plan& plan = both.prepared(static_cast<Rank>(rank)).plan;
      check_program(train[rank], plan.train);
      check_program(evaluate[rank], without_padding(*plan.evaluate));
      CHECK(agreed[rank]);
    }
  }
}

TEST_CASE("an activation eight bytes larger than placed shows at the peak") {
  const Measured honest = one_step({});
  CHECK(agrees(honest.use, honest.planned));
  const Measured lying = one_step([](plan::Plan& plan, Rank) {
    const std::uint32_t peak = peak_step(plan.train);
    std::size_t b = 0;
    while (!is_activation(plan.train.program.buffers[b]) || plan.train.at[b].born > peak ||
           plan.train.at[b].dies < peak) {
      ++b;
    }
    enlarge(plan.train.program, b, 8);
  });
  CHECK_FALSE(agrees(lying.use, lying.planned));
  CHECK(sum(lying.use.peak) == sum(lying.planned.peak[0]) + 8);
}

TEST_CASE("a buffer that ends eight bytes beyond the arena shows as a larger arena") {
  const Measured lying = one_step(
      [](plan::Plan& plan, Rank) { enlarge(plan.train.program, top_buffer(plan.train), 8); });
  CHECK_FALSE(agrees(lying.use, lying.planned));
  CHECK(lying.use.arena == lying.planned.arena[0] + 8);
}

TEST_CASE("a planned buffer that no step uses is missed by the ledger") {
  const Measured lying = one_step([](plan::Plan& plan, Rank) {
    const std::uint32_t peak = peak_step(plan.train);
    const Bytes size = 512;
    plan.train.program.buffers.push_back(
        {"unused", plan::Tier::device, plan::Use::activations, DType::f32, size, false});
    plan.train.at.push_back({round_up(plan.memory.arena[0], plan::alignment), peak, peak});
    plan.memory.arena[0] = plan.train.at.back().offset + size;
    plan.memory.peak[0][static_cast<std::size_t>(plan::Use::activations)] += size;
  });
  CHECK_FALSE(agrees(lying.use, lying.planned));
  CHECK(sum(lying.use.peak) + 512 == sum(lying.planned.peak[0]));
  CHECK(lying.use.arena + 512 <= lying.planned.arena[0]);
}

TEST_CASE("the ledger stands still once both programs have run") {
  for (const int stage : {0, 1, 2, 3}) {
    CAPTURE(stage);
    const ThreadRun run{.config = staged(stage, 3), .job = [](Rank) { return validated_job(); }};
    ThreadRanks ranks(run);
    std::array<std::vector<std::uint64_t>, 2> changes;
    rethrow(ranks.run([&](ThreadRank& seat) {
      std::vector<std::uint64_t>& seen = changes[static_cast<std::size_t>(seat.rank)];
      const auto note = [&] { seen.push_back(seat.engine.ledger().changes()); };
      seat.engine.step();
      seat.engine.step();
      note();
      seat.engine.step();
      note();
      seat.engine.evaluate();
      note();
      seat.engine.step();
      seat.engine.evaluate();
      note();
    }));
    for (const std::vector<std::uint64_t>& seen : changes) {
      CHECK(seen[0] > 0);
      CHECK(seen[1] == seen[0]);
      CHECK(seen[2] > seen[1]);
      CHECK(seen[3] == seen[2]);
    }
  }
}

TEST_CASE("evaluation finds every persistent buffer where training keeps it") {
  for (const int stage : {0, 1, 2, 3}) {
    CAPTURE(stage);
    const launch::Validated validated = launch::resolve(staged(stage));
    const plan::Plan plan = launch::prepare(validated, validated_job(), 1).plan;
    std::map<std::string, Bytes> offsets;
    Bytes persistent_end = 0;
    for (std::size_t b = 0; b < plan.train.at.size(); ++b) {
      if (!plan.train.program.buffers[b].persistent) continue;
      offsets[plan.train.program.buffers[b].name] = plan.train.at[b].offset;
      persistent_end = std::max(persistent_end, end_of(plan.train, b));
    }
    std::size_t shared = 0;
    for (std::size_t b = 0; b < plan.evaluate->at.size(); ++b) {
      const plan::Buffer& buffer = plan.evaluate->program.buffers[b];
      CAPTURE(buffer.name);
      const Bytes offset = plan.evaluate->at[b].offset;
      if (!buffer.persistent) {
        CHECK(offset >= persistent_end);
      } else if (offsets.contains(buffer.name)) {
        CHECK(offset == offsets[buffer.name]);
        ++shared;
      }
    }
    CHECK(shared >= plan.setup.layout.buckets().size());
  }
}

TEST_CASE("a rank alone allocates nothing in a step") {
  const auto counts = allocations_of_steps(1, 0);
  for (const std::uint64_t count : counts.front()) CHECK(count == 0);
}

TEST_CASE("what collectives allocate does not grow from step to step") {
  for (const auto& counts : allocations_of_steps(2, 3)) {
    MESSAGE("allocations in a step of two ranks: ", counts.back());
    for (std::size_t step = 2; step < counts.size(); ++step) CHECK(counts[step] == counts[1]);
  }
}
