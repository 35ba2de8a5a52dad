// The llama family through the engine: equal bits at every stage, on the CPU and on a device, and
// the device's losses beside PyTorch's.
#include <doctest/doctest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "sherd/model/llama.hpp"
#include "support/awkward_gpt2.hpp"
#include "support/device_under_test.hpp"
#include "support/thread_ranks.hpp"

using namespace sherd;
using namespace sherd::test;
using model::LlamaKind;

namespace {

/// Sizes that divide by nothing; heads make up more, as much, and less than the width.
model::LlamaConfig awkward_llama(LlamaKind kind) {
  model::LlamaConfig c{.kind = kind,
                       .layers = 2,
                       .heads = 4,
                       .kv_heads = 2,
                       .head_dim = 18,
                       .width = 72,
                       .ffn_width = 100,
                       .vocab_size = awkward_vocabulary,
                       .context = awkward_length,
                       .tied = kind == LlamaKind::llama};
  if (kind == LlamaKind::qwen2) c.head_dim = 14;
  if (kind == LlamaKind::qwen3) c.head_dim = 22;
  return c;
}

struct Outcome {
  std::string hash;
  std::vector<double> losses;
  bool operator==(const Outcome&) const = default;
};

Outcome train(ThreadRun run) {
  ThreadRanks ranks(run);
  std::vector<Outcome> outcomes(static_cast<std::size_t>(ranks.world()));
  rethrow(ranks.run([&](ThreadRank& rank) {
    Outcome& outcome = outcomes[static_cast<std::size_t>(rank.rank)];
    for (int step = 0; step < run.config.batch.steps; ++step)
      outcome.losses.push_back(rank.engine.step().loss);
    outcome.hash = rank.engine.parameters_hash();
  }));
  for (const Outcome& other : outcomes) CHECK(other == outcomes[0]);
  return outcomes[0];
}

Outcome train(const model::LlamaConfig& network, const launch::RunConfig& config,
              const std::string& library) {
  ThreadRun run{.config = config, .job = [&](Rank) {
                  launch::Job job;
                  job.model = model::llama(network);
                  job.description = "awkward llama";
                  job.length = awkward_length;
                  job.train = std::make_unique<MadeTokens>(one_and_a_half_batches(config));
                  job.sample = job.train->shape();
                  return job;
                }};
  run.device_library = library;
  return train(run);
}

/// All stages, with recompute changing from one to the next.
void check_stages(const std::string& library) {
  for (const LlamaKind kind : {LlamaKind::llama, LlamaKind::qwen2, LlamaKind::qwen3}) {
    for (const optim::Precision precision : {optim::Precision::fp32, optim::Precision::bf16}) {
      CAPTURE(static_cast<int>(kind));
      std::optional<Outcome> expected;
      for (int stage = 0; stage <= 3; ++stage) {
        launch::RunConfig config = awkward_config(2);
        config.precision.precision = precision;
        config.batch.grad_accum = 2;
        config.sharding.reduce_every = plan::ReduceEvery::micro;
        config.sharding.zero_stage = stage;
        config.memory.recompute = static_cast<plan::Recompute>(stage % 3);
        config.sharding.overlap = stage == 2 ? plan::Overlap::off : plan::Overlap::on;
        CAPTURE(stage);
        const Outcome outcome = train(awkward_llama(kind), config, library);
        if (!expected) expected = outcome;
        CHECK(outcome == *expected);
      }
    }
  }
}

}  // namespace

TEST_CASE("two ranks give a llama's equal bits at every stage, with and without recompute") {
  check_stages({});
}

TEST_CASE("two ranks that share a device give a llama's equal bits at every stage") {
  SHERD_NEEDS_DEVICE();
  check_stages(std::string(device_library));
}

TEST_CASE("a device's first loss is PyTorch's, whichever the network") {
  SHERD_NEEDS_DEVICE();
  for (const std::string name : {"gpt2", "llama", "llama_tied", "qwen2", "qwen3"}) {
    CAPTURE(name);
    const std::string folder = SHERD_FIXTURES "/" + name + "_parity";
    launch::RunConfig config;
    config.model.model = folder;
    config.data.data = {folder + "/tokens.npy"};
    config.data.seq_len = 16;
    config.ranks.threads = 1;
    config.batch.global_batch = 4;
    config.batch.steps = 2;
    config.optimizer.lr = 1e-3;
    config.optimizer.weight_decay = 0.1;
    ThreadRun run{.config = config,
                  .job = [config](Rank) { return launch::zoo_job(launch::resolve(config)); }};
    run.device_library = device_library;
    const Outcome outcome = train(run);
    const auto expected = nlohmann::json::parse(std::ifstream(folder + "/expected.json"));
    for (std::size_t i = 0; i < outcome.losses.size(); ++i)
      CHECK(outcome.losses[i] ==
            doctest::Approx(expected["trace"]["steps"][i]["loss"].get<double>()).epsilon(2e-4));
  }
}
