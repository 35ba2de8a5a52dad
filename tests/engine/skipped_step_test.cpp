// A gradient that is not finite on one rank: every rank skips, nothing changes, training goes on.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "sherd/launch/rank.hpp"
#include "support/awkward_gpt2.hpp"
#include "support/persistent_state.hpp"
#include "support/planted_head.hpp"
#include "support/thread_ranks.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

constexpr float inf = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

using Bytes8 = std::vector<std::byte>;

/// What this rank owns of parameters, master weights and moments, byte by byte.
Bytes8 owned_state(const ThreadRank& seat) {
  Bytes8 state = persistent_bytes(seat, memory::Use::params);
  const Bytes8 optimizer = persistent_bytes(seat, memory::Use::optimizer);
  state.insert(state.end(), optimizer.begin(), optimizer.end());
  return state;
}

struct Seen {
  std::vector<engine::StepResult> steps;
  std::vector<std::string> hashes;  // after each step
  std::vector<bool> changed;        // did the step change a byte this rank owns?
};

std::vector<Seen> observe(const ThreadRun& run) {
  ThreadRanks ranks(run);
  std::vector<Seen> seen(static_cast<std::size_t>(ranks.world()));
  rethrow(ranks.run([&](ThreadRank& seat) {
    Seen& mine = seen[static_cast<std::size_t>(seat.rank)];
    Bytes8 before = owned_state(seat);
    while (seat.engine.steps() < seat.prepared.steps) {
      mine.steps.push_back(seat.engine.step());
      mine.hashes.push_back(seat.engine.parameters_hash());  // also drains all lanes
      Bytes8 after = owned_state(seat);
      mine.changed.push_back(after != before);
      before = std::move(after);
    }
  }));
  return seen;
}

ThreadRun spoiled(const launch::RunConfig& config, float value, std::function<bool(int)> when) {
  return {.config = config, .job = [=](Rank rank) {
            launch::Job job = awkward_job(awkward_gpt2(), one_and_a_half_batches(config));
            if (rank == config.ranks.ranks - 1) plant(job.model, value, when);
            return job;
          }};
}

void check_skip(const launch::RunConfig& config, float value, std::string& final_hash) {
  const auto seen = observe(spoiled(config, value, [](int call) { return call == 2; }));
  for (const Seen& mine : seen) {
    CHECK_FALSE(mine.steps[0].skipped);
    CHECK(mine.steps[1].skipped);
    CHECK(std::isnan(mine.steps[1].grad_norm));
    CHECK_FALSE(mine.steps[2].skipped);
    CHECK(mine.hashes[1] == mine.hashes[0]);
    CHECK(mine.hashes[2] != mine.hashes[1]);
    CHECK(mine.changed == std::vector<bool>{true, false, true});
  }
  if (final_hash.empty()) final_hash = seen[0].hashes[2];
  CHECK(seen[0].hashes[2] == final_hash);
}

launch::RunConfig fp16(int world, double first_scale) {
  launch::RunConfig config = awkward_config(world);
  config.precision.precision = optim::Precision::fp16;
  config.precision.loss_scale_init = first_scale;
  return config;
}

int exit_code_of(const launch::RunConfig& config, std::function<bool(int)> when) {
  const ThreadRun run = spoiled(config, inf, std::move(when));
  ThreadRanks ranks(run);
  const auto peers = comm::thread_arenas(ranks.world());
  const Ending ending = ranks.each([&](Rank rank, comm::ControlBlock& control) {
    const launch::RankEnvironment seat{.rank = rank, .world = ranks.world()};
    launch::RankMemory memory(ranks.arena(rank), peers);
    launch::run_rank(ranks.validated(), ranks.job(rank), ranks.prepared(rank),
                     {control, seat, memory}, nullptr);
  });
  for (const std::exception_ptr& error : ending.thrown) {
    REQUIRE(error);
    CHECK_THROWS_AS(std::rethrow_exception(error), DivergedError);
  }
  try {
    std::rethrow_exception(ending.thrown[0]);
  } catch (const std::exception& error) {
    return exit_code(error);
  }
}

}  // namespace

TEST_CASE("an infinite gradient on one rank skips the step on all, at every stage and precision") {
  for (const auto precision :
       {optim::Precision::fp32, optim::Precision::bf16, optim::Precision::fp16}) {
    std::string hash;
    for (const int stage : {0, 1, 2, 3}) {
      launch::RunConfig config = awkward_config(2);
      config.precision.precision = precision;
      if (precision == optim::Precision::fp16) config.precision.loss_scale_init = 1024;
      config.sharding.zero_stage = stage;
      config.sharding.bucket_bytes = 1;
      config.sharding.overlap = stage % 2 == 0 ? plan::Overlap::off : plan::Overlap::on;
      CAPTURE(stage);
      CAPTURE(static_cast<int>(precision));
      check_skip(config, inf, hash);
    }
  }
}

TEST_CASE("a NaN in a gradient skips the step on all ranks") {
  std::string hash;
  launch::RunConfig config = awkward_config(3);
  config.sharding.zero_stage = 3;
  check_skip(config, not_a_number, hash);
}

TEST_CASE("an infinite bf16 gradient skips the step on all ranks") {
  std::string hash;
  launch::RunConfig config = awkward_config(2);
  config.precision.precision = optim::Precision::bf16;
  config.precision.grad_dtype = optim::GradDType::bf16;
  config.sharding.zero_stage = 2;
  check_skip(config, inf, hash);
}

TEST_CASE("the fp16 loss scale halves at the overflow that uses up the hysteresis") {
  launch::RunConfig config = fp16(2, 1024);
  config.batch.steps = 5;
  const auto seen = observe(spoiled(config, inf, [](int call) { return call == 2 || call == 3; }));
  std::vector<double> scales;
  for (const engine::StepResult& step : seen[1].steps) scales.push_back(step.loss_scale);
  CHECK(scales == std::vector<double>{1024, 1024, 1024, 512, 512});
  CHECK(seen[0].steps[2].skipped_in_row == 2);
  CHECK(seen[0].steps[3].skipped_in_row == 0);
}

TEST_CASE("ten skipped steps in a row end the run with exit code 6 on every rank") {
  launch::RunConfig config = awkward_config(2);
  config.output.quiet = true;
  config.batch.steps = 20;
  CHECK(exit_code_of(config, [](int call) { return call > 1; }) == 6);
}

TEST_CASE("an overflow at the smallest loss scale ends the run with exit code 6") {
  launch::RunConfig config = fp16(2, 2);
  config.output.quiet = true;
  config.precision.loss_scale_hysteresis = 1;
  config.batch.steps = 8;  // fewer than ten skips
  CHECK(exit_code_of(config, [](int) { return true; }) == 6);
}
