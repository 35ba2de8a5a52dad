#include "sherd/model/presets.hpp"

#include <doctest/doctest.h>

#include <map>

#include "sherd/base/errors.hpp"
#include "sherd/model/spec.hpp"

using namespace sherd;

namespace {

std::vector<std::string> problems(const model::ModelConfig& config) {
  try {
    (void)model::resolve(config);
  } catch (const ConfigError& error) {
    return error.problems;
  }
  return {};
}

}  // namespace

TEST_CASE("presets have the published numbers of parameters") {
  const std::map<std::string, std::uint64_t> published{
      {"gpt2-124m", 124'439'808},      {"gpt2-355m", 354'823'168},
      {"gpt2-774m", 774'030'080},      {"gpt2-1558m", 1'557'611'200},
      {"llama3.2-1b", 1'235'814'400},  {"llama3.2-3b", 3'212'749'824},
      {"llama3.1-8b", 8'030'261'248},  {"qwen2.5-0.5b", 494'032'768},
      {"qwen2.5-1.5b", 1'543'714'304}, {"qwen2.5-3b", 3'085'938'688},
      {"qwen2.5-7b", 7'615'616'512},   {"qwen2.5-14b", 14'770'033'664},
      {"qwen2.5-32b", 32'763'876'352}, {"qwen3-0.6b", 596'049'920},
      {"qwen3-1.7b", 1'720'574'976},   {"qwen3-4b", 4'022'468'096},
      {"qwen3-8b", 8'190'735'360}};
  for (const auto& [name, parameters] : published) {
    CAPTURE(name);
    const model::Network network = model::build(model::ModelConfig{.model = name});
    CHECK(model::declare(network.model, {}, {1, 64}).parameters() == parameters);
    CHECK(network.vocab_size > 50000);
    CHECK(network.context >= 1024);
  }
  CHECK(model::presets().size() == published.size() + 1);
}

TEST_CASE("a preset without overrides has no problems") {
  for (const model::Preset& preset : model::presets()) {
    CHECK(model::problems_of(preset.architecture).empty());
    CHECK(model::resolve({.model = std::string(preset.name)}) == preset.architecture);
  }
}

TEST_CASE("overrides replace a preset's numbers and the feed-forward width follows the width") {
  const auto wider = model::resolve({.width = 72, .context = 33, .dropout = 0.1});
  CHECK(std::get<model::Gpt2Config>(wider) == model::Gpt2Config{4, 4, 72, 288, 256, 33, 0.1f});
  const auto all = model::resolve(
      {.layers = 2, .heads = 3, .width = 72, .ffn_width = 100, .vocab_size = 259, .context = 33});
  CHECK(std::get<model::Gpt2Config>(all) == model::Gpt2Config{2, 3, 72, 100, 259, 33});
}

TEST_CASE("heads of a llama follow the width where they made it up") {
  const auto llama = [](const model::ModelConfig& config) {
    return std::get<model::LlamaConfig>(model::resolve(config));
  };
  const model::LlamaConfig narrow =
      llama({.model = "llama3.2-1b", .layers = 2, .heads = 8, .width = 256, .context = 64});
  CHECK(narrow.head_dim == 32);
  CHECK(narrow.kv_heads == 8);
  CHECK(narrow.layers == 2);
  CHECK(narrow.context == 64);
  CHECK(narrow.ffn_width == 8192);
  CHECK(llama({.model = "llama3.2-1b", .kv_heads = 32, .head_dim = 12}).head_dim == 12);
  CHECK(llama({.model = "qwen3-0.6b", .heads = 24, .width = 100}).head_dim == 128);
}

TEST_CASE("an unknown preset is refused with the nearest one") {
  const auto found = problems({.model = "gpt2-124"});
  REQUIRE(found.size() == 1);
  CHECK(found[0].find("did you mean gpt2-124m?") != std::string::npos);
}

TEST_CASE("what a network does not have is refused") {
  CHECK(problems({.kv_heads = 2}) ==
        std::vector<std::string>{"kv_heads: got 2, need 4: GPT-2 has one for each head"});
  CHECK(problems({.head_dim = 16}).size() == 1);
  CHECK(problems({.kv_heads = 4}).empty());
  CHECK(problems({.model = "qwen3-0.6b", .dropout = 0.5}) ==
        std::vector<std::string>{"dropout: got 0.5, need 0: the llama family has none"});
  CHECK(problems({.model = "llama3.2-1b", .heads = 5}) ==
        std::vector<std::string>{"heads: got 5, need a divisor of width 2048 or a head_dim",
                                 "kv_heads: got 8, need a divisor of 5 heads"});
  CHECK(problems({.model = "qwen3-0.6b", .kv_heads = 3, .head_dim = 7}) ==
        std::vector<std::string>{"kv_heads: got 3, need a divisor of 16 heads",
                                 "head_dim: got 7, need an even number"});
}

TEST_CASE("all problems of a model are listed at once") {
  CHECK(problems({.heads = 5}) ==
        std::vector<std::string>{"heads: got 5, need a divisor of width 128"});
  CHECK(problems({.model = "gtp2", .layers = -1, .vocab_size = -7, .dropout = 1}).size() == 4);
  CHECK(problems({.model = "gpt2-tiny", .context = std::int64_t{1} << 40}).size() == 1);
  CHECK(problems({.width = INT64_MAX}).size() >= 1);
}

TEST_CASE("the description names everything that changes a bit") {
  using Config = model::ModelConfig;
  const std::string tiny = model::build(Config{}).description;
  CHECK(tiny == model::build(Config{.model = "gpt2-tiny", .width = 128, .seed = 5}).description);
  for (const model::ModelConfig& other :
       {model::ModelConfig{.layers = 2}, model::ModelConfig{.heads = 2},
        model::ModelConfig{.width = 64}, model::ModelConfig{.ffn_width = 64},
        model::ModelConfig{.vocab_size = 300}, model::ModelConfig{.context = 64},
        model::ModelConfig{.dropout = 0.1}})
    CHECK(model::build(other).description != tiny);
}

TEST_CASE("the description of a llama names everything that changes a bit") {
  const auto preset = model::resolve({.model = "llama3.2-1b"});
  const std::string usual = model::build(preset).description;
  const auto differs = [&](auto change) {
    auto c = std::get<model::LlamaConfig>(preset);
    change(c);
    CHECK(model::build(c).description != usual);
  };
  differs([](model::LlamaConfig& c) { c.kind = model::LlamaKind::qwen2; });
  differs([](model::LlamaConfig& c) { c.layers = 2; });
  differs([](model::LlamaConfig& c) { c.kv_heads = 2; });
  differs([](model::LlamaConfig& c) { c.head_dim = 32; });
  differs([](model::LlamaConfig& c) { c.eps = 1e-6f; });
  differs([](model::LlamaConfig& c) { c.tied = false; });
  differs([](model::LlamaConfig& c) { c.rotary.theta = 10000; });
  differs([](model::LlamaConfig& c) { c.rotary.factor = 8; });
  differs([](model::LlamaConfig& c) { c.rotary.low_freq_factor = 2; });
  differs([](model::LlamaConfig& c) { c.rotary.high_freq_factor = 8; });
  differs([](model::LlamaConfig& c) { c.rotary.original_context = 4096; });
  differs([](model::LlamaConfig& c) { c.rotary.scaling = kernels::RotaryScaling::linear; });
}
