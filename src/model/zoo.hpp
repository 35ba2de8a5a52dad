#pragma once
// What each architecture of the zoo answers, as overloads on its config.
#include <algorithm>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "sherd/model/config.hpp"
#include "sherd/model/presets.hpp"

namespace sherd::model {

using Problems = std::vector<std::string>;

/// What `given` asks for and the architecture cannot be goes to `problems`.
void override_with(Gpt2Config& c, const ModelConfig& given, Problems& problems);
void override_with(LlamaConfig& c, const ModelConfig& given, Problems& problems);

/// Numbers out of range, each on its own.
void check_ranges(const Gpt2Config& c, Problems& problems);
void check_ranges(const LlamaConfig& c, Problems& problems);

/// Numbers that do not go together.
void check_relations(const Gpt2Config& c, Problems& problems);
void check_relations(const LlamaConfig& c, Problems& problems);

/// Products that may have an adapter, and those that do where nothing is said.
struct LoraSites {
  std::vector<std::string> all, usual;
};
[[nodiscard]] inline LoraSites lora_sites_of(const Gpt2Config& /*c*/) {
  return {{"c_attn", "c_proj", "c_fc"}, {"c_attn"}};
}
[[nodiscard]] inline LoraSites lora_sites_of(const LlamaConfig& /*c*/) {
  return {{"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"},
          {"q_proj", "v_proj"}};
}

/// All that changes a bit, but not the weights.
[[nodiscard]] nlohmann::json describe(const Gpt2Config& c);
[[nodiscard]] nlohmann::json describe(const LlamaConfig& c);

[[nodiscard]] inline Model network_of(const Gpt2Config& c) { return gpt2(c); }
[[nodiscard]] inline Model network_of(const LlamaConfig& c) { return llama(c); }

inline void override_number(std::int64_t given, std::int64_t& field) {
  if (given != 0) field = given;
}
/// `value` must be from 1 to `most`.
inline void check_size(std::string_view name, std::int64_t value, std::int64_t most,
                       Problems& problems) {
  if (value >= 1 && value <= most) return;
  problems.push_back(std::string(name) + ": got " + std::to_string(value) + ", need 1 to " +
                     std::to_string(most));
}
/// Of adapters, what the products `sites` cannot have.
inline void check_lora(const LoraConfig& lora, const LoraSites& sites, Problems& problems) {
  if (!lora.on()) return;
  check_size("lora_rank", lora.rank, most_lora_rank, problems);
  if (!(lora.alpha > 0 && lora.alpha <= 1e18F))
    problems.push_back("lora_alpha: got " + std::to_string(lora.alpha) + ", need more than 0");
  for (const std::string& name : names_of(lora)) {
    if (std::ranges::find(sites.all, name) == sites.all.end())
      problems.push_back("lora_targets: got '" + name +
                         "', but the network has no such product that an adapter could stand by");
  }
}
inline void check_eps(float eps, Problems& problems) {
  if (!(eps > 0 && eps < 1))
    problems.push_back("eps: got " + std::to_string(eps) + ", need more than 0 and less than 1");
}

}  // namespace sherd::model
