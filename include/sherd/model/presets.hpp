#pragma once
// Networks by name.
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sherd/model/config.hpp"
#include "sherd/model/gpt2.hpp"

namespace sherd::model {

struct Preset {
  std::string_view name;
  Gpt2Config config;
};
[[nodiscard]] std::span<const Preset> presets();

/// Is `config.model` a folder rather than a preset?
[[nodiscard]] bool names_folder(const ModelConfig& config);

/// The preset or folder with the overrides applied. An overridden width takes the ffn_width along
/// where that was four times the width.
///
/// **Errors** ConfigError listing every problem, an unknown name with the nearest preset; DataError
/// for a folder whose config.json is bad.
[[nodiscard]] Gpt2Config resolve(const ModelConfig& config);

/// What is wrong with the numbers, one sentence each: "heads: got 5, need a divisor of width 128".
[[nodiscard]] std::vector<std::string> problems_of(const Gpt2Config& config);

/// What the rest of a run needs to know.
struct Network {
  Model model;
  std::int64_t vocab_size = 0;
  std::int64_t context = 0;
  std::string description;  // canonical JSON: all that changes a bit, but not the weights
};
[[nodiscard]] Network build(const ModelConfig& config);

}  // namespace sherd::model
