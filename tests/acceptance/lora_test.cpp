// Adapters as a user trains, saves, exports and merges them (tests/fixtures/lora/README.md).
#include <cmath>
#include <fstream>

#include "acceptance/program.hpp"
#include "sherd/io/tensor_folder.hpp"

using namespace sherd::test;
using sherd::io::TensorFolder;

namespace {

const std::string networks[] = {"gpt2", "llama", "qwen2", "qwen3"};
std::string base_of(const std::string& name) { return FIXTURES "/" + name + "_parity"; }
std::string adapters_of(const std::string& name) { return FIXTURES "/lora/" + name; }

struct Run {
  explicit Run(std::string name) : network(std::move(name)) {}
  std::string network;
  Bench bench;
  std::string saves = bench.folder.file("saves"), out = bench.folder.file("out");

  [[nodiscard]] Training train(const std::string& flags) const {
    return bench.logged(words("train --seq-len 16 --global-batch 4 " + flags) +
                        Words{"--model", base_of(network), "--data",
                              base_of(network) + "/tokens.npy", "--save", saves});
  }
  void exported(const std::string& flags) const {
    const Outcome outcome =
        run_sherd(Words{"checkpoint", "export", saves, "--out", out} + words(flags));
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
  }
  [[nodiscard]] Json greedy(const Words& from) const {
    const Outcome outcome = run_sherd(Words{"generate"} + from +
                                      words("--prompt-tokens 3,1,4,1,5 --max-tokens 12 "
                                            "--temperature 0 --json --threads 1"));
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    return Json::parse(outcome.out).at("tokens");
  }
};

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<float> values_of(const TensorFolder& folder, const std::string& name) {
  std::size_t count = 1;
  for (const std::uint64_t size : folder.at(name).shape) count *= size;
  std::vector<float> values(count);
  folder.read(name, std::as_writable_bytes(std::span(values)));
  return values;
}

}  // namespace

TEST_CASE("adapters that were not trained leave as the bytes that PEFT wrote") {
  for (const std::string& network : networks) {
    CAPTURE(network);
    const Run run(network);
    (void)run.train("--steps 2 --lr 0 --ranks 2 --zero-stage 3 --lora-from " +
                    adapters_of(network));
    run.exported("--adapters");
    CHECK(bytes_of(run.out + "/adapter_model.safetensors") ==
          bytes_of(adapters_of(network) + "/adapter_model.safetensors"));
    const Json got = Json::parse(bytes_of(run.out + "/adapter_config.json"));
    const Json want = Json::parse(bytes_of(adapters_of(network) + "/adapter_config.json"));
    for (const char* key : {"peft_type", "task_type", "r", "lora_alpha", "bias", "fan_in_fan_out"})
      CHECK(got.at(key) == want.at(key));
    CHECK(got.at("target_modules").size() == want.at("target_modules").size());
  }
}

TEST_CASE("adapters merge into the weights that PEFT merged, and both say the same") {
  for (const std::string& network : networks) {
    CAPTURE(network);
    const Run run(network);
    (void)run.train("--steps 1 --lr 0 --lora-from " + adapters_of(network));
    run.exported("");
    const TensorFolder got(run.out), want(adapters_of(network), "merged");
    CHECK(got.tensors().size() == want.tensors().size());
    for (const auto& [name, tensor] : want.tensors()) {
      CAPTURE(name);
      const std::vector<float> a = values_of(got, name), b = values_of(want, name);
      REQUIRE(a.size() == b.size());
      float worst = 0;
      for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
      CHECK(worst <= 2e-7F);
    }
    CHECK(run.greedy({"--checkpoint", run.saves}) == run.greedy({"--model", run.out}));
  }
}

TEST_CASE("a run of adapters goes on to the bits of one that nothing stopped") {
  const Run whole("qwen3"), halves("qwen3");
  const std::string flags =
      "--lr 1e-2 --lora-rank 3 --lora-targets all --reduce-order canonical "
      "--micro-batch 1 ";
  const Training want = whole.train(flags + "--steps 6");
  (void)halves.train(flags + "--steps 3");
  const Training got = halves.train(flags + "--steps 6 --resume latest --ranks 2 --zero-stage 3");
  CHECK(got.hash() == want.hash());
  CHECK(want.outcome.err.find("of them trained") != std::string::npos);

  const Outcome other = run_sherd(words("train --seq-len 16 --global-batch 4 --steps 7 --resume "
                                        "latest --lora-rank 4 --lora-targets all") +
                                  Words{"--model", base_of("qwen3"), "--data",
                                        base_of("qwen3") + "/tokens.npy", "--save", halves.saves});
  CHECK(other.code == 4);
  CHECK(other.err.find("lora") != std::string::npos);
}

TEST_CASE("adapters are asked of a run that has some") {
  const Run run("llama");
  (void)run.train("--steps 1");
  const Outcome outcome =
      run_sherd({"checkpoint", "export", run.saves, "--out", run.out, "--adapters"});
  CHECK(outcome.code == 2);
  CHECK(outcome.err.find("has no adapters") != std::string::npos);
}
