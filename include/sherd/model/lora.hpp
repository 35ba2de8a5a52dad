#pragma once
// Low-rank adapters: beside a frozen weight W, y = x·W + (alpha / rank) · (x·A)·B.
// Source: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", §4.1; names of
// targets as PEFT has them.
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sherd::model {

/// Products that may have an adapter; a network has those of its family.
inline constexpr std::array<std::string_view, 10> lora_sites{
    "q_proj",  "k_proj",    "v_proj", "o_proj", "gate_proj",
    "up_proj", "down_proj", "c_attn", "c_proj", "c_fc"};

inline constexpr std::int64_t most_lora_rank = 4096;

struct LoraConfig {
  std::int64_t rank = 0;  // 0: no adapters
  float alpha = 16;
  std::uint32_t sites = 0;  // bit i: lora_sites[i]

  [[nodiscard]] bool on() const { return rank > 0; }
  [[nodiscard]] float scale() const { return alpha / static_cast<float>(rank); }
  /// `site` has an adapter.
  [[nodiscard]] bool at(std::string_view site) const;
  bool operator==(const LoraConfig&) const = default;
};

/// Names of the sites, in their order.
[[nodiscard]] std::vector<std::string> names_of(const LoraConfig& config);

/// Of names that `names_of` gave; nothing where one is no site.
[[nodiscard]] std::optional<std::uint32_t> sites_of(const std::vector<std::string>& names);

/// Whether a parameter is an adapter's: "layer0.attention.q_proj.lora_a".
[[nodiscard]] bool is_adapter(std::string_view param);

}  // namespace sherd::model
