#pragma once
// Networks by name.
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "sherd/model/config.hpp"
#include "sherd/model/gpt2.hpp"
#include "sherd/model/llama.hpp"

namespace sherd::model {

/// A network of the zoo, by its numbers.
using Architecture = std::variant<Gpt2Config, LlamaConfig>;

struct Preset {
  std::string_view name;
  Architecture architecture;
};
[[nodiscard]] std::span<const Preset> presets();

/// Is `config.model` a folder rather than a preset?
[[nodiscard]] bool names_folder(const ModelConfig& config);

/// The preset or folder with the overrides applied. What followed from other numbers follows the
/// overridden ones: a GPT-2's ffn_width was four times the width, a llama's heads made up the width
/// or were as many as its kv_heads.
///
/// **Errors** ConfigError listing every problem, an unknown name with the nearest preset; DataError
/// for a folder whose config.json is bad.
[[nodiscard]] Architecture resolve(const ModelConfig& config);

/// What is wrong with the numbers, one sentence each: "heads: got 5, need a divisor of width 128".
[[nodiscard]] std::vector<std::string> problems_of(const Architecture& architecture);

/// What the rest of a run needs to know.
struct Network {
  Model model;
  std::int64_t vocab_size = 0;
  std::int64_t context = 0;
  std::string description;  // canonical JSON: all that changes a bit, but not the weights
};
[[nodiscard]] Network build(const Architecture& architecture);
[[nodiscard]] Network build(const ModelConfig& config);

}  // namespace sherd::model
