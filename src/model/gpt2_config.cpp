#include <algorithm>
#include <nlohmann/json.hpp>

#include "model/zoo.hpp"
#include "sherd/model/language_head.hpp"

namespace sherd::model {

void override_with(Gpt2Config& c, const ModelConfig& given, Problems& problems) {
  const bool four_times = c.ffn_width == 4 * c.width;
  override_number(given.layers, c.layers);
  override_number(given.heads, c.heads);
  override_number(given.width, c.width);
  if (four_times && given.width > 0) c.ffn_width = 4 * std::min(c.width, std::int64_t{1} << 40);
  override_number(given.ffn_width, c.ffn_width);
  override_number(given.vocab_size, c.vocab_size);
  override_number(given.context, c.context);
  c.dropout = static_cast<float>(given.dropout);
  if (given.kv_heads != 0 && given.kv_heads != c.heads)
    problems.push_back("kv_heads: got " + std::to_string(given.kv_heads) + ", need " +
                       std::to_string(c.heads) + ": GPT-2 has one for each head");
  if (given.head_dim != 0)
    problems.push_back("head_dim: got " + std::to_string(given.head_dim) +
                       ", need none: GPT-2 divides its width by its heads");
}

void check_ranges(const Gpt2Config& c, Problems& problems) {
  check_size("layers", c.layers, 1024, problems);
  check_size("heads", c.heads, 4096, problems);
  check_size("width", c.width, 1 << 20, problems);
  check_size("ffn_width", c.ffn_width, 1 << 24, problems);
  check_size("vocab_size", c.vocab_size, 1 << 30, problems);
  check_size("context", c.context, 1 << 24, problems);
  if (!(c.dropout >= 0 && c.dropout < 1))
    problems.push_back("dropout: got " + std::to_string(c.dropout) +
                       ", need a probability below 1");
  check_eps(c.eps, problems);
}

void check_relations(const Gpt2Config& c, Problems& problems) {
  if (c.heads > 0 && c.width > 0 && c.width % c.heads != 0)
    problems.push_back("heads: got " + std::to_string(c.heads) + ", need a divisor of width " +
                       std::to_string(c.width));
  check_lora(c.lora, lora_sites_of(c), problems);
}

nlohmann::json describe(const Gpt2Config& c) {
  return {{"architecture", "gpt2"},
          {"layers", c.layers},
          {"heads", c.heads},
          {"width", c.width},
          {"ffn_width", c.ffn_width},
          {"vocab_size", c.vocab_size},
          {"context", c.context},
          {"dropout", c.dropout},
          {"eps", c.eps},
          {"loss_chunk_rows", head_chunk_rows(c.vocab_size)}};
}

}  // namespace sherd::model
