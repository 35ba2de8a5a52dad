// Generation against what transformers computes in fp64 (tests/fixtures/gpt2_parity/README.md), and
// against whole sequences through the same blocks without a cache.
#include "sherd/engine/generator.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "sherd/base/errors.hpp"
#include "sherd/model/hugging_face.hpp"
#include "sherd/model/mlp.hpp"
#include "sherd/model/presets.hpp"
#include "support/block_check.hpp"

using namespace sherd;
using engine::Generator;
using engine::GeneratorConfig;
using test::Rig;

namespace {

using Tokens = std::vector<std::int32_t>;

const std::string networks[] = {"gpt2", "llama", "llama_tied", "qwen2", "qwen3"};

std::string folder_of(const std::string& network) {
  return SHERD_FIXTURES "/" + network + "_parity";
}

/// A fixture's network with its weights, ready to generate.
struct Fixture {
  model::ModelConfig config;
  model::Network network = model::build(config);
  Generator generator;

  explicit Fixture(const std::string& name, GeneratorConfig asked = {})
      : config{.model = folder_of(name)}, generator(network.model, completed(asked)) {
    generator.load(*model::open_weights(config, generator.spec()));
  }
  [[nodiscard]] GeneratorConfig completed(GeneratorConfig asked) const {
    asked.vocab_size = network.vocab_size;
    if (asked.capacity == 0) asked.capacity = 16;
    return asked;
  }
  std::vector<float> after(const Tokens& tokens) {
    const std::span<const float> logits = generator.extend(tokens);
    return {logits.begin(), logits.end()};
  }
};

double largest_difference(std::span<const float> a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}
std::vector<double> doubles(std::span<const float> values) {
  return {values.begin(), values.end()};
}

/// Logits of every position, by `forward` of all blocks on whole sequences: no cache anywhere.
std::vector<std::vector<double>> uncached(const model::ModelConfig& config, const Tokens& tokens) {
  model::Network network = model::build(config);
  const Shape rows{1, std::ssize(tokens)};
  std::vector<Rig> rigs;
  for (std::size_t i = 0; i <= network.model.blocks.size(); ++i)
    rigs.emplace_back(network.model, i, test::RigOptions{.rows = rows, .vocabulary = 64});
  const auto weights = model::open_weights(config, rigs[0].whole);
  for (Rig& rig : rigs) {
    rig.inputs.set({tokens.begin(), tokens.end()});
    for (std::size_t i = 0; i < rig.params.size(); ++i)
      weights->read(rig.whole.params[rig.spec.params[i]], 0, rig.params[i].view().span<float>());
  }
  Rig& head = rigs.back();
  for (std::size_t i = 0; i + 1 < rigs.size(); ++i) {
    rigs[i].forward(false);
    rigs[i + 1].in.set(rigs[i].out.values());
  }
  head.out = test::Buffer({rows.cols, network.vocab_size}, DType::f32);
  head.logits();
  const std::vector<double> all = head.out.values();
  std::vector<std::vector<double>> split;
  for (auto at = all.begin(); at != all.end(); at += network.vocab_size)
    split.emplace_back(at, at + network.vocab_size);
  return split;
}

Tokens some_tokens(std::size_t count) {
  Tokens tokens;
  for (std::size_t i = 0; i < count; ++i) tokens.push_back(static_cast<int>(i * i * 7 + i) % 64);
  return tokens;
}

}  // namespace

TEST_CASE("greedy tokens and logits are those of transformers") {
  for (const std::string& name : networks) {
    CAPTURE(name);
    const auto all = nlohmann::json::parse(std::ifstream(folder_of(name) + "/expected.json"));
    const nlohmann::json& expected = all.at("generation");
    const Tokens prompt = expected.at("prompt"), wanted = expected.at("tokens");
    Fixture step(name, {.capacity = std::ssize(prompt)});
    for (std::size_t i = 0; i < prompt.size(); ++i)
      CHECK(largest_difference(step.after({prompt[i]}), expected.at("logits")[i]) < 2e-5);

    Fixture fixture(name, {.capacity = std::ssize(prompt) + std::ssize(wanted) - 1});
    std::vector<float> logits = fixture.after(prompt);
    CHECK(largest_difference(logits, expected.at("logits").back()) < 2e-5);
    Tokens made;
    for (;;) {
      made.push_back(
          static_cast<int>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
      if (made.size() == wanted.size()) break;
      logits = fixture.after({made.back()});
    }
    CHECK(made == wanted);
  }
}

TEST_CASE("logits from the cache are those of the whole sequence, however it is cut") {
  const Tokens tokens = some_tokens(16);
  for (const std::string& name : networks) {
    CAPTURE(name);
    const auto whole = uncached({.model = folder_of(name)}, tokens);
    for (const std::int64_t rows : {1, 2, 5, 64}) {
      Fixture fixture(name, {.prompt_rows = rows});
      CHECK(largest_difference(fixture.after(tokens), whole.back()) < 1e-5);
      CHECK(fixture.generator.position() == 16);
    }
    Fixture fixture(name);
    for (const std::size_t cut : {4u, 11u, 12u}) {
      const auto at = static_cast<std::size_t>(fixture.generator.position());
      const std::vector<float> logits =
          fixture.after({tokens.begin() + static_cast<std::ptrdiff_t>(at),
                         tokens.begin() + static_cast<int>(cut)});
      CHECK(largest_difference(logits, whole[cut - 1]) < 1e-5);
    }
    fixture.generator.rewind(3);
    CHECK(largest_difference(fixture.after({tokens[3]}), whole[3]) < 1e-5);
  }
}

TEST_CASE("threads change no bit of the logits") {
  const Tokens tokens = some_tokens(12);
  for (const std::string& name : networks) {
    CAPTURE(name);
    std::vector<std::vector<float>> found;
    for (const int threads : {1, 2, 3}) {
      Fixture fixture(name, {.threads = threads});
      (void)fixture.after({tokens.begin(), tokens.end() - 1});
      found.push_back(fixture.after({tokens.back()}));
    }
    CHECK(found[0] == found[1]);
    CHECK(found[0] == found[2]);
  }
}

TEST_CASE("16-bit weights give logits near those of fp32, in half the memory") {
  const Tokens tokens = some_tokens(12);
  for (const std::string& name : networks) {
    Fixture exact(name);
    const std::vector<double> wanted = doubles(exact.after(tokens));
    for (const DType type : {DType::bf16, DType::f16}) {
      CAPTURE(name);
      Fixture fixture(name, {.compute = type});
      const std::vector<float> step = [&] {
        (void)fixture.after({tokens.begin(), tokens.end() - 1});
        return fixture.after({tokens.back()});
      }();
      CHECK(largest_difference(step, wanted) < (type == DType::bf16 ? 0.1 : 0.01));
      CHECK(fixture.generator.memory().weights < exact.generator.memory().weights * 6 / 10);
    }
  }
}

TEST_CASE("memory is what the plan says: weights, cache by positions, room for one pass") {
  const model::Network network = model::build({.model = "gpt2-124m"});
  const auto plan = [&](std::int64_t capacity, DType type) {
    return Generator::plan(
        network.model, {.compute = type, .vocab_size = network.vocab_size, .capacity = capacity});
  };
  const engine::GeneratorMemory memory = plan(1024, DType::f32);
  const Bytes weights = 124439808 * 4;
  CHECK(memory.weights >= weights);
  CHECK(memory.weights < weights + 64 * 200);  // tensors are aligned
  CHECK(memory.cache == 12 * 2 * 768 * 1024 * 4);
  CHECK(plan(512, DType::bf16).cache == memory.cache / 4);
  CHECK(memory.work < 16 * mib);
}

TEST_CASE("a generator refuses what it cannot do and stays as it was") {
  Fixture fixture("llama", {.capacity = 4});
  const std::vector<float> before = fixture.after({1, 2, 3});
  CHECK_THROWS_AS((void)fixture.after({}), UsageError);
  CHECK_THROWS_AS((void)fixture.after({4, 5}), UsageError);
  CHECK_THROWS_AS(fixture.generator.rewind(4), UsageError);
  CHECK(fixture.generator.position() == 3);
  fixture.generator.rewind(2);
  CHECK(largest_difference(fixture.after({3}), doubles(before)) < 1e-6);

  const model::Network tiny = model::build({.model = "gpt2-tiny"});
  CHECK_THROWS_AS((void)Generator::plan(tiny.model, {.vocab_size = 256, .capacity = 129}),
                  UsageError);
  const Model perceptron = model::mlp({.inputs = 3, .width = 4, .outputs = 2});
  CHECK_THROWS_WITH_AS((void)Generator::plan(perceptron, {.vocab_size = 2, .capacity = 1}),
                       doctest::Contains("cannot generate"), UsageError);
}
