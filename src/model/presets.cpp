#include "sherd/model/presets.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "sherd/base/errors.hpp"
#include "sherd/base/suggest.hpp"
#include "sherd/model/hugging_face.hpp"

namespace sherd::model {
namespace {

constexpr std::array all_presets{
    Preset{"gpt2-tiny", {4, 4, 128, 512, 256, 128}},
    Preset{"gpt2-124m", {12, 12, 768, 3072, 50257, 1024}},
    Preset{"gpt2-355m", {24, 16, 1024, 4096, 50257, 1024}},
    Preset{"gpt2-774m", {36, 20, 1280, 5120, 50257, 1024}},
    Preset{"gpt2-1558m", {48, 25, 1600, 6400, 50257, 1024}},
};

std::string unknown(const std::string& name) {
  std::vector<std::string> names;
  for (const Preset& preset : all_presets) names.emplace_back(preset.name);
  std::string text =
      "model: got '" + name + "', which is no folder and no preset" + did_you_mean(name, names);
  text += text.back() == '?' ? " Presets are" : "; presets are";
  for (const std::string& one : names) text += " " + one;
  return text;
}

void override_with(Gpt2Config& c, const ModelConfig& given) {
  const bool four_times = c.ffn_width == 4 * c.width;
  const auto take = [](std::int64_t value, std::int64_t& field) {
    if (value != 0) field = value;
  };
  take(given.layers, c.layers);
  take(given.heads, c.heads);
  take(given.width, c.width);
  if (four_times && given.width > 0) c.ffn_width = 4 * std::min(c.width, std::int64_t{1} << 40);
  take(given.ffn_width, c.ffn_width);
  take(given.vocab_size, c.vocab_size);
  take(given.context, c.context);
  c.dropout = static_cast<float>(given.dropout);
}

std::string describe(const Gpt2Config& c) {
  // nlohmann::json sorts its keys and prints the shortest exact numbers: one text a network.
  return nlohmann::json{{"architecture", "gpt2"},
                        {"layers", c.layers},
                        {"heads", c.heads},
                        {"width", c.width},
                        {"ffn_width", c.ffn_width},
                        {"vocab_size", c.vocab_size},
                        {"context", c.context},
                        {"dropout", c.dropout},
                        {"eps", c.eps},
                        {"loss_chunk_rows", head_chunk_rows(c.vocab_size)}}
      .dump();
}

}  // namespace

std::span<const Preset> presets() { return all_presets; }

bool names_folder(const ModelConfig& config) {
  std::error_code ignored;
  return std::ranges::none_of(all_presets,
                              [&](const Preset& p) { return p.name == config.model; }) &&
         std::filesystem::is_directory(config.model, ignored);
}

std::vector<std::string> problems_of(const Gpt2Config& c) {
  std::vector<std::string> problems;
  const auto check = [&](std::string_view name, std::int64_t value, std::int64_t most) {
    if (value >= 1 && value <= most) return;
    problems.push_back(std::string(name) + ": got " + std::to_string(value) + ", need 1 to " +
                       std::to_string(most));
  };
  check("layers", c.layers, 1024);
  check("heads", c.heads, 4096);
  check("width", c.width, 1 << 20);
  check("ffn_width", c.ffn_width, 1 << 24);
  check("vocab_size", c.vocab_size, 1 << 30);
  check("context", c.context, 1 << 24);
  if (c.heads > 0 && c.width > 0 && c.width % c.heads != 0)
    problems.push_back("heads: got " + std::to_string(c.heads) + ", need a divisor of width " +
                       std::to_string(c.width));
  if (!(c.dropout >= 0 && c.dropout < 1))
    problems.push_back("dropout: got " + std::to_string(c.dropout) +
                       ", need a probability below 1");
  if (!(c.eps > 0 && c.eps < 1))
    problems.push_back("eps: got " + std::to_string(c.eps) + ", need more than 0 and less than 1");
  return problems;
}

Gpt2Config resolve(const ModelConfig& config) {
  Gpt2Config c;
  const auto preset =
      std::ranges::find_if(all_presets, [&](const Preset& p) { return p.name == config.model; });
  std::vector<std::string> problems;
  if (preset != all_presets.end()) {
    c = preset->config;
  } else if (names_folder(config)) {
    c = read_gpt2_config(config.model);
  } else {
    problems.push_back(unknown(config.model));
    c = all_presets.front().config;  // what else is wrong is wrong for any network
  }
  override_with(c, config);
  const bool known = problems.empty();
  for (std::string& problem : problems_of(c))
    if (known || !problem.starts_with("heads: got") || problem.find("divisor") == problem.npos)
      problems.push_back(std::move(problem));
  if (!problems.empty()) throw ConfigError(std::move(problems));
  return c;
}

Network build(const ModelConfig& config) {
  const Gpt2Config c = resolve(config);
  return {gpt2(c), c.vocab_size, c.context, describe(c)};
}

}  // namespace sherd::model
