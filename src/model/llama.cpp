#include "sherd/model/llama.hpp"

#include "model/llama_blocks.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/model/language_head.hpp"

namespace sherd::model {

Model llama(const LlamaConfig& c) {
  expects(c.layers > 0 && c.heads > 0 && c.kv_heads > 0 && c.head_dim > 0 && c.width > 0 &&
              c.ffn_width > 0 && c.vocab_size > 0 && c.context > 0,
          "llama: every size must be positive");
  expects(c.heads % c.kv_heads == 0, "llama: got " + std::to_string(c.heads) +
                                         " heads, need a multiple of " +
                                         std::to_string(c.kv_heads) + " kv heads");
  expects(c.head_dim % 2 == 0 && c.head_dim <= kernels::largest_rotary_head,
          "llama: got heads of " + std::to_string(c.head_dim) +
              " elements, need an even number up to " +
              std::to_string(kernels::largest_rotary_head));
  Model model;
  model.add<LlamaEmbed>("embed", c);
  for (std::int64_t i = 0; i < c.layers; ++i) {
    const std::string layer = "layer" + std::to_string(i);
    model.add<LlamaAttention>(layer + ".attention", c);
    model.add<LlamaMlp>(layer + ".mlp", c);
  }
  model.end<LanguageHead>(
      LanguageHeadConfig{c.width, c.vocab_size, NormKind::rms, c.eps, c.tied ? "table" : ""});
  return model;
}

}  // namespace sherd::model
