#pragma once
// Which network.
#include <cstdint>
#include <string>
#include <vector>

namespace sherd::model {

/// Zero means "as the preset or folder says".
struct ModelConfig {
  std::string model = "gpt2-tiny";  // preset, or a folder in Hugging Face layout
  bool random_init = false;         // a folder's weights may be absent
  std::int64_t layers = 0;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t width = 0;
  std::int64_t ffn_width = 0;
  std::int64_t vocab_size = 0;
  std::int64_t context = 0;
  double dropout = 0;
  std::int64_t lora_rank = 0;               // 0: no adapters; else only they are trained
  double lora_alpha = 0;                    // 0: 16
  std::vector<std::string> lora_targets{};  // none: as PEFT, q_proj and v_proj, or c_attn
  std::string lora_from{};                  // a folder of PEFT; empty: none
  std::vector<std::string> freeze{};        // patterns of parameters that are not trained
  std::uint64_t seed = 0;  // of initial weights, sample order, dropout and rounding
};

}  // namespace sherd::model
