#pragma once
// GPT-2: learned positions, layer norm before each branch, GELU (tanh), one table for input and
// output. Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", §2.3.
#include <cstdint>

#include "sherd/model/block.hpp"
#include "sherd/model/lora.hpp"

namespace sherd::model {

struct Gpt2Config {
  std::int64_t layers = 0;
  std::int64_t heads = 0;  // divides width
  std::int64_t width = 0;
  std::int64_t ffn_width = 0;
  std::int64_t vocab_size = 0;
  std::int64_t context = 0;  // the longest sequence
  float dropout = 0;         // of the embedding and of both branches; attention weights keep theirs
  float eps = 1e-5f;
  LoraConfig lora{};  // of c_attn, c_fc, and both c_proj
  bool operator==(const Gpt2Config&) const = default;
};

/// Blocks "embed" (home of wte and wpe), "layer{i}.attention", "layer{i}.mlp", and a head that is
/// tied to embed.wte.
///
/// **Shapes** weights are [in, out], so y = x·W + b needs no transpose and a Hugging Face Conv1D
/// tensor is read as it lies; tables are [rows, width].
/// **Errors** UsageError for numbers that are no network; `declare` throws for a sequence longer
/// than the context.
[[nodiscard]] Model gpt2(const Gpt2Config& config);

}  // namespace sherd::model
