// The ledger against the plan, and one arena for training and evaluation.
#include <doctest/doctest.h>

#include "support/awkward_gpt2.hpp"
#include "support/thread_ranks.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

ThreadRun with_evaluation(const launch::RunConfig& config, float dropout = 0) {
  return {.config = config, .job = [=](Rank) {
            model::Gpt2Config network = awkward_gpt2();
            network.dropout = dropout;
            launch::Job job = awkward_job(network, 4);
            job.validate = std::make_unique<MadeTokens>(7, 99);
            return job;
          }};
}

}  // namespace

TEST_CASE("an access larger than planned shows as a difference between ledger and plan") {
  launch::RunConfig config = awkward_config(2);
  config.sharding.zero_stage = 3;
  ThreadRun run{.config = config, .job = [](Rank) { return awkward_job(awkward_gpt2(), 4); }};
  const auto measured_is_planned = [&] {
    ThreadRanks ranks(run);
    const std::vector<RankResult> results = train(ranks);
    return results[0].measured.peak == ranks.prepared(0).plan.memory.peak[0];
  };
  CHECK(measured_is_planned());
  run.slack = 1 * mib;
  run.adjust = [](plan::Plan& plan, Rank) {
    // Where most is alive, so that the peak itself grows.
    for (plan::Step& step : plan.train.program.steps) {
      for (plan::Access& access : step.accesses) {
        if (step.verb == plan::Verb::loss && access.role == plan::Role::scratch)
          access.size += 256 * kib;
      }
    }
  };
  CHECK_FALSE(measured_is_planned());
}

TEST_CASE("the ledger stands still after the second step, and evaluations share the arena") {
  launch::RunConfig config = awkward_config(2);
  config.sharding.zero_stage = 3;
  config.sharding.bucket_bytes = 1;
  config.batch.steps = 4;
  for (const auto overlap : {plan::Overlap::off, plan::Overlap::on}) {
    config.sharding.overlap = overlap;
    const ThreadRun run = with_evaluation(config);
    ThreadRanks ranks(run);
    const std::vector<RankResult> plain = train(ranks);
    CHECK(plain[0].changes[1] == plain[0].changes[3]);

    std::vector<std::string> hashes(2);
    std::vector<std::uint64_t> early(2), late(2);
    std::vector<std::vector<double>> losses(2);
    std::vector<memory::TierUse> used(2);
    rethrow(ranks.run([&](ThreadRank& seat) {
      const auto r = static_cast<std::size_t>(seat.rank);
      while (seat.engine.steps() < seat.prepared.steps) {
        losses[r].push_back(seat.engine.evaluate());
        seat.engine.step();
        if (seat.engine.steps() == 2) early[r] = seat.engine.ledger().changes();
      }
      late[r] = seat.engine.ledger().changes();
      hashes[r] = seat.engine.parameters_hash();
      used[r] = seat.engine.ledger().measured(memory::Tier::device);
    }));
    CHECK(early == late);
    CHECK(hashes[0] == plain[0].hash);  // evaluation changes nothing
    CHECK(losses[0] == losses[1]);
    CHECK(losses[0][3] != losses[0][0]);
    const plan::MemoryPlan& memory = ranks.prepared(0).plan.memory;
    CHECK(used[0].arena == memory.arena[0]);
    CHECK(used[0].peak == memory.peak[0]);
  }
}

TEST_CASE("evaluation drops nothing") {
  launch::RunConfig config = awkward_config(2);
  const auto first_loss = [&](float dropout) {
    const ThreadRun run = with_evaluation(config, dropout);
    ThreadRanks ranks(run);
    double loss = 0;
    rethrow(ranks.run([&](ThreadRank& seat) {
      const double found = seat.engine.evaluate();
      if (seat.rank == 0) loss = found;
    }));
    return loss;
  };
  CHECK(first_loss(0.0f) == first_loss(0.5f));
}

TEST_CASE("dropout is the same when recomputed and another in each step") {
  launch::RunConfig config = awkward_config(2);
  config.optimizer.lr = 0;  // the same weights and the same four samples in every step
  config.optimizer.weight_decay = 0;
  const auto losses = [&](plan::Recompute recompute, float dropout) {
    config.memory.recompute = recompute;
    const ThreadRun run = with_evaluation(config, dropout);
    ThreadRanks ranks(run);
    const RankResult result = train(ranks)[0];
    std::vector<double> found;
    for (const engine::StepResult& step : result.steps) {
      found.push_back(step.loss);
      found.push_back(step.grad_norm);
    }
    return found;
  };
  const std::vector<double> kept = losses(plan::Recompute::none, 0.5f);
  CHECK(losses(plan::Recompute::block, 0.5f) == kept);
  CHECK(losses(plan::Recompute::selective, 0.5f) == kept);
  CHECK(kept[0] != kept[2]);
  CHECK(kept[2] != kept[4]);
  CHECK(losses(plan::Recompute::none, 0)[0] != kept[0]);
}
