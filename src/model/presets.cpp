#include "sherd/model/presets.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "model/zoo.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/base/suggest.hpp"
#include "sherd/model/frozen.hpp"
#include "sherd/model/hugging_face.hpp"

namespace sherd::model {
namespace {

constexpr kernels::Rotary llama3(double factor) {
  return {.theta = 500000, .scaling = kernels::RotaryScaling::llama3, .factor = factor};
}
constexpr kernels::Rotary million{.theta = 1e6};
constexpr auto llama = LlamaKind::llama;
constexpr auto qwen2 = LlamaKind::qwen2;
constexpr auto qwen3 = LlamaKind::qwen3;
constexpr std::int64_t k32 = 32768, k40 = 40960, k128 = 131072;

// Sizes as the authors publish them in their config.json and model cards.
constexpr std::array all_presets{
    Preset{"gpt2-tiny", Gpt2Config{4, 4, 128, 512, 256, 128}},
    Preset{"gpt2-124m", Gpt2Config{12, 12, 768, 3072, 50257, 1024}},
    Preset{"gpt2-355m", Gpt2Config{24, 16, 1024, 4096, 50257, 1024}},
    Preset{"gpt2-774m", Gpt2Config{36, 20, 1280, 5120, 50257, 1024}},
    Preset{"gpt2-1558m", Gpt2Config{48, 25, 1600, 6400, 50257, 1024}},
    // layers, heads, kv_heads, head_dim, width, ffn_width, vocab_size, context, rotary, eps, tied
    Preset{"llama3.2-1b",
           LlamaConfig{llama, 16, 32, 8, 64, 2048, 8192, 128256, k128, llama3(32), 1e-5f, true}},
    Preset{"llama3.2-3b",
           LlamaConfig{llama, 28, 24, 8, 128, 3072, 8192, 128256, k128, llama3(32), 1e-5f, true}},
    Preset{"llama3.1-8b",
           LlamaConfig{llama, 32, 32, 8, 128, 4096, 14336, 128256, k128, llama3(8), 1e-5f, false}},
    Preset{"qwen2.5-0.5b",
           LlamaConfig{qwen2, 24, 14, 2, 64, 896, 4864, 151936, k32, million, 1e-6f, true}},
    Preset{"qwen2.5-1.5b",
           LlamaConfig{qwen2, 28, 12, 2, 128, 1536, 8960, 151936, k32, million, 1e-6f, true}},
    Preset{"qwen2.5-3b",
           LlamaConfig{qwen2, 36, 16, 2, 128, 2048, 11008, 151936, k32, million, 1e-6f, true}},
    Preset{"qwen2.5-7b",
           LlamaConfig{qwen2, 28, 28, 4, 128, 3584, 18944, 152064, k128, million, 1e-6f, false}},
    Preset{"qwen2.5-14b",
           LlamaConfig{qwen2, 48, 40, 8, 128, 5120, 13824, 152064, k128, million, 1e-5f, false}},
    Preset{"qwen2.5-32b",
           LlamaConfig{qwen2, 64, 40, 8, 128, 5120, 27648, 152064, k128, million, 1e-5f, false}},
    Preset{"qwen3-0.6b",
           LlamaConfig{qwen3, 28, 16, 8, 128, 1024, 3072, 151936, k40, million, 1e-6f, true}},
    Preset{"qwen3-1.7b",
           LlamaConfig{qwen3, 28, 16, 8, 128, 2048, 6144, 151936, k40, million, 1e-6f, true}},
    Preset{"qwen3-4b",
           LlamaConfig{qwen3, 36, 32, 8, 128, 2560, 9728, 151936, k40, million, 1e-6f, true}},
    Preset{"qwen3-8b",
           LlamaConfig{qwen3, 36, 32, 8, 128, 4096, 12288, 151936, k40, million, 1e-6f, false}},
};

const Preset* find_preset(const std::string& name) {
  const auto at =
      std::ranges::find_if(all_presets, [&](const Preset& p) { return p.name == name; });
  return at == all_presets.end() ? nullptr : &*at;
}

std::string unknown(const std::string& name) {
  std::vector<std::string> names;
  names.reserve(all_presets.size());
  for (const Preset& preset : all_presets) names.emplace_back(preset.name);
  std::string text =
      "model: got '" + name + "', which is no folder and no preset" + did_you_mean(name, names);
  text += text.back() == '?' ? " Presets are" : "; presets are";
  for (const std::string& one : names) text += " " + one;
  return text;
}

LoraConfig lora_of(const ModelConfig& given, const LoraSites& sites, Problems& problems) {
  std::vector<std::string> names = given.lora_targets;
  if (!given.lora_from.empty()) {
    const LoraConfig lora = read_adapter_config(given.lora_from);
    if (given.lora_rank != 0 || !names.empty())
      problems.emplace_back(
          "lora_from: says rank and targets; give neither lora_rank nor lora_targets");
    return lora;
  }
  if (given.lora_rank == 0) {
    if (!names.empty()) problems.emplace_back("lora_targets: needs lora_rank");
    return {};
  }
  if (names.empty()) names = sites.usual;
  if (names == std::vector<std::string>{"all"}) names = sites.all;
  for (const std::string& name : names) {
    if (std::ranges::find(sites.all, name) != sites.all.end()) continue;
    std::string problem = "lora_targets: got '" + name + "', need all, or some of";
    for (const std::string& site : sites.all) problem += " " + site;
    problems.push_back(std::move(problem));
  }
  return {given.lora_rank, static_cast<float>(given.lora_alpha), sites_of(names).value_or(0)};
}

}  // namespace

std::span<const Preset> presets() { return all_presets; }

bool names_folder(const ModelConfig& config) {
  std::error_code ignored;
  return find_preset(config.model) == nullptr &&
         std::filesystem::is_directory(config.model, ignored);
}

std::vector<std::string> problems_of(const Architecture& architecture) {
  Problems problems;
  std::visit(
      [&](const auto& c) {
        check_ranges(c, problems);
        check_relations(c, problems);
      },
      architecture);
  return problems;
}

Architecture resolve(const ModelConfig& config) {
  Problems problems;
  Architecture architecture = all_presets.front().architecture;
  const Preset* preset = find_preset(config.model);
  const bool known = preset != nullptr || names_folder(config);
  if (preset != nullptr) {
    architecture = preset->architecture;
  } else if (known) {
    architecture = read_config(config.model);
  } else {
    problems.push_back(unknown(config.model));
  }
  std::visit(
      [&](auto& c) {
        Problems of_this_network;  // of an unknown one only what is wrong for any
        override_with(c, config, of_this_network);
        c.lora = lora_of(config, lora_sites_of(c), of_this_network);
        check_ranges(c, problems);
        check_relations(c, of_this_network);
        if (known) problems.insert(problems.end(), of_this_network.begin(), of_this_network.end());
      },
      architecture);
  if (!problems.empty()) throw ConfigError(std::move(problems));
  return architecture;
}

Network build(const Architecture& architecture) {
  return std::visit(
      [](const auto& c) -> Network {
        // nlohmann::json sorts its keys and prints the shortest exact numbers: one text a network.
        nlohmann::json text = describe(c);
        if (c.lora.on())
          text["lora"] = {
              {"rank", c.lora.rank}, {"alpha", c.lora.alpha}, {"targets", names_of(c.lora)}};
        return {network_of(c), c.vocab_size, c.context, text.dump()};
      },
      architecture);
}

Network build(const ModelConfig& config) {
  Network network = build(resolve(config));
  network.model.frozen = frozen_by(config.freeze);
  if (config.lora_rank > 0 || !config.lora_from.empty()) {
    network.model.frozen = [named = network.model.frozen](std::string_view param) {
      return !is_adapter(param) || (named && named(param));
    };
  }
  return network;
}

}  // namespace sherd::model
