// A run on a device: equal bits over stages and however phases are issued, the planned bytes, and
// failures that end it.
#include <doctest/doctest.h>

#include <bit>
#include <optional>

#include "support/awkward_gpt2.hpp"
#include "support/device_under_test.hpp"
#include "support/state_bytes.hpp"
#include "support/thread_ranks.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

using engine::Replay;

struct Outcome {
  std::string hash, key;
  std::vector<double> losses;
  std::vector<engine::PhaseReport> phases;
  bool operator==(const Outcome& other) const {
    return hash == other.hash && key == other.key && losses == other.losses;
  }
};

struct Where {
  std::string library{device_library};  // empty: the CPU
  Replay replay = Replay::where_it_can;
};

void check_bytes(const ThreadRanks& ranks, const ThreadRank& rank) {
  const plan::Plan& plan = ranks.prepared(rank.rank).plan;
  for (const memory::Tier tier : {memory::Tier::device, memory::Tier::pinned}) {
    const memory::TierUse measured = rank.engine.ledger().measured(tier);
    CHECK(measured.arena == plan.memory.arena[static_cast<std::size_t>(tier)]);
    CHECK(measured.peak == plan.memory.peak[static_cast<std::size_t>(tier)]);
  }
}

Outcome train(const launch::RunConfig& config, const Where& where = {}) {
  ThreadRun run{.config = config, .job = [&](Rank) {
                  model::Gpt2Config network = awkward_gpt2();
                  network.dropout = static_cast<float>(config.model.dropout);
                  return awkward_job(network, one_and_a_half_batches(config));
                }};
  run.device_library = where.library;
  run.replay = where.replay;
  ThreadRanks ranks(run);
  std::vector<Outcome> outcomes(static_cast<std::size_t>(ranks.world()));
  rethrow(ranks.run([&](ThreadRank& rank) {
    Outcome& outcome = outcomes[static_cast<std::size_t>(rank.rank)];
    for (int step = 0; step < config.batch.steps; ++step)
      outcome.losses.push_back(rank.engine.step().loss);
    outcome.hash = rank.engine.parameters_hash();
    outcome.key = rank.prepared.policy_key;
    outcome.phases = rank.engine.phases();
    check_bytes(ranks, rank);
  }));
  for (const Outcome& other : outcomes) CHECK(other == outcomes[0]);
  return outcomes[0];
}

launch::RunConfig config_of(int world, optim::Precision precision, int accum) {
  launch::RunConfig config = awkward_config(world);
  config.precision.precision = precision;
  if (precision == optim::Precision::fp16) config.precision.loss_scale_init = 1024;
  config.batch.grad_accum = accum;
  config.batch.steps = 5;
  config.sharding.reduce_every = plan::ReduceEvery::micro;
  return config;
}

constexpr optim::Precision precisions[] = {optim::Precision::fp32, optim::Precision::bf16,
                                           optim::Precision::fp16};

/// All stages, with recompute, prefetch and overlap changing from one to the next.
void check_stages(launch::RunConfig config) {
  std::optional<Outcome> expected;
  for (int stage = 0; stage <= 3; ++stage) {
    config.sharding.zero_stage = stage;
    config.memory.recompute = static_cast<plan::Recompute>(stage % 3);
    config.sharding.prefetch = stage % 2 * 2;
    config.sharding.overlap = stage == 2 ? plan::Overlap::off : plan::Overlap::on;
    CAPTURE(stage);
    const Outcome outcome = train(config);
    if (!expected) expected = outcome;
    CHECK(outcome == *expected);
  }
}

}  // namespace

TEST_CASE("one rank gives equal bits at every stage and precision on a device") {
  SHERD_NEEDS_DEVICE();
  for (const optim::Precision precision : precisions) check_stages(config_of(1, precision, 3));
}

TEST_CASE("two ranks that share a device give equal bits at every stage and precision") {
  SHERD_NEEDS_DEVICE();
  for (const optim::Precision precision : precisions) check_stages(config_of(2, precision, 2));
}

TEST_CASE("four ranks that share a device give equal bits at every stage") {
  SHERD_NEEDS_DEVICE();
  check_stages(config_of(4, optim::Precision::bf16, 1));
}

TEST_CASE("replayed phases give the bits of phases issued step by step, run after run") {
  SHERD_NEEDS_DEVICE();
  for (const int accum : {1, 2, 5}) {
    CAPTURE(accum);
    const launch::RunConfig config = config_of(1, optim::Precision::bf16, accum);
    const Outcome replayed = train(config), issued = train(config, {.replay = Replay::off});
    CHECK(replayed == issued);
    CHECK(train(config) == replayed);
    for (const engine::PhaseReport& phase : replayed.phases) CHECK(phase.replayed);
    for (const engine::PhaseReport& phase : issued.phases) CHECK_FALSE(phase.replayed);
  }
}

TEST_CASE("canonical order gives one result on a device for every world that divides the leaves") {
  SHERD_NEEDS_DEVICE();
  std::optional<Outcome> expected;
  for (const int world : {1, 2, 4}) {
    launch::RunConfig config = config_of(world, optim::Precision::fp32, 4 / world);
    config.sharding.reduce_order = plan::ReduceOrder::canonical;
    config.sharding.zero_stage = world - 1;
    const Outcome outcome = train(config);
    if (!expected) expected = outcome;
    CHECK(outcome.hash == expected->hash);
  }
}

TEST_CASE("a device follows the losses of the CPU") {
  SHERD_NEEDS_DEVICE();
  const double tolerance[] = {1e-4, 2e-2, 2e-2};  // products in another order; 16-bit gradients
  for (const optim::Precision precision : precisions) {
    const launch::RunConfig config = config_of(1, precision, 2);
    const Outcome here = train(config), cpu = train(config, {.library = ""});
    for (std::size_t i = 0; i < cpu.losses.size(); ++i) {
      CHECK(here.losses[i] ==
            doctest::Approx(cpu.losses[i]).epsilon(tolerance[static_cast<int>(precision)]));
    }
  }
}

TEST_CASE("a phase whose bits change at every step is not replayed, and says why") {
  SHERD_NEEDS_DEVICE();
  launch::RunConfig config = config_of(1, optim::Precision::fp32, 1);
  config.model.dropout = 0.1;
  const Outcome dropped = train(config);
  REQUIRE(dropped.phases.size() == 2);
  CHECK_FALSE(dropped.phases[0].replayed);
  CHECK(dropped.phases[0].why_not.find("random bits") != std::string::npos);
  CHECK(dropped.phases[1].replayed);  // the update
  const Outcome shared = train(config_of(2, optim::Precision::fp32, 1));
  CHECK(shared.phases[0].why_not.find("meet on the host") != std::string::npos);
}

TEST_CASE("a phase that cannot be recorded is issued with the same bits, and says why") {
  if (!is_emulated()) {
    std::puts("SKIP: only the emulated device refuses on request");
    return;
  }
  const launch::RunConfig config = config_of(1, optim::Precision::fp32, 4);
  const Outcome replayed = train(config);
  setenv("SHERD_EMULATED_FAIL", "recording", 1);
  const Outcome issued = train(config);
  unsetenv("SHERD_EMULATED_FAIL");
  CHECK(issued == replayed);
  for (const engine::PhaseReport& phase : issued.phases) {
    CHECK_FALSE(phase.replayed);
    CHECK(phase.why_not == "it cannot be recorded: emulated: end_recording: refused, as asked");
  }
}

TEST_CASE("stochastically rounded gradients do not depend on the stage on a device") {
  SHERD_NEEDS_DEVICE();
  launch::RunConfig config = config_of(2, optim::Precision::bf16, 2);
  config.precision.grad_dtype = optim::GradDType::bf16;
  check_stages(config);
}

TEST_CASE("the emulated device gives the CPU's own bits in fp32") {
  if (!is_emulated()) {
    std::puts("SKIP: a real device multiplies in another order");
    return;
  }
  const launch::RunConfig config = config_of(2, optim::Precision::fp32, 2);
  const Outcome here = train(config), cpu = train(config, {.library = ""});
  CHECK(here.hash == cpu.hash);
  CHECK(here.losses == cpu.losses);
}
