#pragma once
// The llama family: RMS norm before each branch, rotary positions, grouped-query attention, SwiGLU.
// Source: Touvron et al. 2023, "Llama 2", §2.2; Grattafiori et al. 2024, "The Llama 3 Herd of
// Models", §3.2; Yang et al. 2024, "Qwen2.5 Technical Report", and 2025, "Qwen3 Technical Report".
#include <cstdint>

#include "sherd/kernels/rotary.hpp"
#include "sherd/model/block.hpp"
#include "sherd/model/lora.hpp"

namespace sherd::model {

/// What sets a member of the family apart.
enum class LlamaKind : std::uint8_t {
  llama,  // Llama 2 and 3
  qwen2,  // Qwen2.5: q, k and v have biases
  qwen3   // an RMS norm of each head's q and k, before they are turned
};

struct LlamaConfig {
  LlamaKind kind = LlamaKind::llama;
  std::int64_t layers = 0;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;  // divides heads
  std::int64_t head_dim = 0;  // even; heads·head_dim need not be the width
  std::int64_t width = 0;
  std::int64_t ffn_width = 0;
  std::int64_t vocab_size = 0;
  std::int64_t context = 0;  // the longest sequence
  kernels::Rotary rotary{};
  float eps = 1e-5f;
  bool tied = false;  // input and output share one table
  LoraConfig lora{};  // of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj

  [[nodiscard]] std::int64_t attention_width() const { return heads * head_dim; }
  [[nodiscard]] std::int64_t kv_width() const { return kv_heads * head_dim; }
  bool operator==(const LlamaConfig&) const = default;
};

/// Blocks "embed" (home of the table), "layer{i}.attention", "layer{i}.mlp", and a head.
///
/// **Shapes** weights are [in, out], so y = x·W; q, k and v are one weight, and so are gate and up.
/// **Errors** UsageError for numbers that are no network; `declare` throws for a sequence longer
/// than the context.
[[nodiscard]] Model llama(const LlamaConfig& config);

}  // namespace sherd::model
