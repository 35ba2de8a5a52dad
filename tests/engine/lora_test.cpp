// Training adapters through the engine against PEFT's fp64 numbers (tests/fixtures/lora/README.md).
#include <doctest/doctest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "sherd/model/hugging_face.hpp"
#include "support/fixture_runs.hpp"
#include "support/thread_ranks.hpp"

using namespace sherd;
using namespace sherd::test;
using nlohmann::json;

namespace {

const std::string networks[] = {"gpt2", "llama", "qwen2", "qwen3"};

json read(const std::string& path) { return json::parse(std::ifstream(path)); }

launch::RunConfig config_of(const std::string& network, int world, int stage) {
  launch::RunConfig config = parity_config(network, world, stage);
  config.model.lora_from = SHERD_FIXTURES "/lora/" + network;
  return config;
}

std::string hash_of(const launch::RunConfig& config, const json& steps) {
  ThreadRanks ranks({.config = config,
                     .job = [config](Rank) { return launch::zoo_job(launch::resolve(config)); }});
  const std::vector<RankResult> results = train(ranks);
  for (const RankResult& result : results) {
    REQUIRE(result.steps.size() == steps.size());
    for (std::size_t i = 0; i < steps.size(); ++i) {
      CAPTURE(i);
      CHECK(result.steps[i].loss ==
            doctest::Approx(steps[i].at("loss").get<double>()).epsilon(2e-4));
      CHECK(result.steps[i].grad_norm ==
            doctest::Approx(steps[i].at("grad_norm").get<double>()).epsilon(2e-4));
    }
    CHECK(result.measured.peak == ranks.prepared(0).plan.memory.peak[0]);
  }
  return results[0].hash;
}

}  // namespace

TEST_CASE(
    "eight steps of AdamW on adapters follow PEFT's loss and norm, with equal bits at any stage") {
  for (const std::string& network : networks) {
    CAPTURE(network);
    const json steps =
        read(SHERD_FIXTURES "/lora/" + network + "/expected.json").at("trace").at("steps");
    (void)hash_of(config_of(network, 1, 0), steps);
    const std::string hash = hash_of(config_of(network, 2, 0), steps);
    for (int stage = 1; stage < 4; ++stage)
      CHECK(hash_of(config_of(network, 2, stage), steps) == hash);
    for (const plan::Recompute recompute : {plan::Recompute::selective, plan::Recompute::block}) {
      launch::RunConfig config = config_of(network, 2, 3);
      config.memory.recompute = recompute;
      config.memory.offload_params = plan::Offload::host;
      CHECK(hash_of(config, steps) == hash);
    }
  }
}

TEST_CASE("adapters of rank 1 decay as wider ones do") {
  const auto hash = [](double decay) {
    launch::RunConfig config = config_of("llama", 1, 0);
    config.model.lora_from.clear();
    config.model.lora_rank = 1;
    config.batch.steps = 1;
    config.optimizer.weight_decay = decay;
    ThreadRanks ranks({.config = config,
                       .job = [config](Rank) { return launch::zoo_job(launch::resolve(config)); }});
    return train(ranks)[0].hash;
  };
  CHECK(hash(0) != hash(0.9));
}
