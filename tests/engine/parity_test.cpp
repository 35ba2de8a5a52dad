// Training through the engine against PyTorch's fp64 numbers
// (tests/fixtures/gpt2_parity/README.md).
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

const std::string networks[] = {"gpt2", "llama", "llama_tied", "qwen2", "qwen3"};

/// The four windows with labels of their own.
class FixtureRows final : public data::Source {
 public:
  FixtureRows(const json& inputs, const json& labels) : inputs_(inputs), labels_(labels) {}
  std::uint64_t samples() const override { return 4; }
  data::SampleShape shape() const override { return {16, DType::i32, 16, DType::i32}; }
  void read(std::uint64_t sample, View inputs, View labels) const override {
    for (std::size_t i = 0; i < 16; ++i) {
      inputs.as<std::int32_t>()[i] = inputs_[sample][i].get<std::int32_t>();
      labels.as<std::int32_t>()[i] = labels_[sample][i].get<std::int32_t>();
    }
  }
  std::uint64_t fingerprint() const override { return 1; }

 private:
  json inputs_, labels_;
};

ThreadRun run_of(const launch::RunConfig& config) {
  return {.config = config,
          .job = [config](Rank) { return launch::zoo_job(launch::resolve(config)); }};
}

void check_trace(const ThreadRun& run, const json& steps) {
  ThreadRanks ranks(run);
  for (const RankResult& result : train(ranks)) {
    REQUIRE(result.steps.size() == steps.size());
    for (std::size_t i = 0; i < steps.size(); ++i) {
      CAPTURE(i);
      CHECK(result.steps[i].loss == doctest::Approx(steps[i]["loss"].get<double>()).epsilon(2e-4));
      CHECK(result.steps[i].grad_norm ==
            doctest::Approx(steps[i]["grad_norm"].get<double>()).epsilon(2e-4));
    }
  }
}

}  // namespace

TEST_CASE("eight steps of AdamW follow PyTorch's loss and gradient norm at any stage") {
  for (const std::string& network : networks) {
    CAPTURE(network);
    const json steps = expected(network)["trace"]["steps"];
    check_trace(run_of(parity_config(network, 1, 0)), steps);
    check_trace(run_of(parity_config(network, 2, 3)), steps);
  }
  const json steps = expected("gpt2")["trace"]["steps"];
  for (const int stage : {0, 1, 2}) check_trace(run_of(parity_config("gpt2", 2, stage)), steps);
}

TEST_CASE("eight steps with clipping follow PyTorch's") {
  for (const std::string& network : networks) {
    CAPTURE(network);
    const json want = expected(network)["trace_clipped"];
    for (const int world : {1, 2}) {
      launch::RunConfig config = parity_config(network, world, 3);
      config.optimizer.clip_grad_norm = want["clip_grad_norm"].get<double>();
      check_trace(run_of(config), want["steps"]);
    }
  }
}

TEST_CASE("recomputed activations follow PyTorch's loss as kept ones do") {
  for (const std::string& network : networks) {
    CAPTURE(network);
    for (const plan::Recompute recompute : {plan::Recompute::selective, plan::Recompute::block}) {
      launch::RunConfig config = parity_config(network, 2, 3);
      config.memory.recompute = recompute;
      check_trace(run_of(config), expected(network)["trace"]["steps"]);
    }
  }
}

TEST_CASE("masked labels leave PyTorch's mean over the rest, on even and uneven ranks") {
  const json all = expected("gpt2"), want = all["masked"];
  for (const int world : {1, 2, 4}) {
    launch::RunConfig config = parity_config("gpt2", world, 3);
    config.batch.steps = 1;
    ThreadRun run = run_of(config);
    run.job = [config, all](Rank) {
      launch::Job job = launch::zoo_job(launch::resolve(config));
      job.train = std::make_unique<FixtureRows>(all["inputs"], all["masked"]["labels"]);
      return job;
    };
    check_trace(run, json::array({{{"loss", want["loss"]}, {"grad_norm", want["grad_norm"]}}}));
  }
}
