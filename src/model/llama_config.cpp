#include <array>
#include <nlohmann/json.hpp>

#include "model/zoo.hpp"
#include "sherd/model/language_head.hpp"

namespace sherd::model {
namespace {

constexpr std::array kind_names{"llama", "qwen2", "qwen3"};
constexpr std::array scaling_names{"none", "linear", "llama3"};

nlohmann::json describe(const kernels::Rotary& r) {
  nlohmann::json all{{"theta", r.theta},
                     {"scaling", scaling_names.at(static_cast<std::size_t>(r.scaling))}};
  if (r.scaling != kernels::RotaryScaling::none) all["factor"] = r.factor;
  if (r.scaling == kernels::RotaryScaling::llama3) {
    all["low_freq_factor"] = r.low_freq_factor;
    all["high_freq_factor"] = r.high_freq_factor;
    all["original_context"] = r.original_context;
  }
  return all;
}

void check_rotary(const kernels::Rotary& r, Problems& problems) {
  const auto check = [&](const char* name, double value, double least) {
    if (!(value >= least && value <= 1e18))
      problems.push_back(std::string(name) + ": got " + nlohmann::json(value).dump() + ", need " +
                         nlohmann::json(least).dump() + " or more");
  };
  check("rope_theta", r.theta, 1);
  if (r.scaling == kernels::RotaryScaling::none) return;
  check("rope factor", r.factor, 1);
  if (r.scaling != kernels::RotaryScaling::llama3) return;
  check("rope original_max_position_embeddings", r.original_context, 1);
  if (!(r.low_freq_factor > 0 && r.high_freq_factor > r.low_freq_factor &&
        r.high_freq_factor <= 1e18))
    problems.push_back("rope high_freq_factor: got " + nlohmann::json(r.high_freq_factor).dump() +
                       ", need more than low_freq_factor " +
                       nlohmann::json(r.low_freq_factor).dump() + ", and that above 0");
}

}  // namespace

void override_with(LlamaConfig& c, const ModelConfig& given, Problems& problems) {
  const bool whole_width = c.heads > 0 && c.width == c.attention_width();
  const bool no_groups = c.kv_heads == c.heads;
  override_number(given.layers, c.layers);
  override_number(given.heads, c.heads);
  override_number(given.width, c.width);
  if (no_groups) c.kv_heads = c.heads;
  override_number(given.kv_heads, c.kv_heads);
  if (given.head_dim != 0) {
    c.head_dim = given.head_dim;
  } else if (whole_width && c.heads > 0 && c.width > 0) {
    if (c.width % c.heads != 0)
      problems.push_back("heads: got " + std::to_string(c.heads) + ", need a divisor of width " +
                         std::to_string(c.width) + " or a head_dim");
    else
      c.head_dim = c.width / c.heads;
  }
  override_number(given.ffn_width, c.ffn_width);
  override_number(given.vocab_size, c.vocab_size);
  override_number(given.context, c.context);
  if (given.dropout != 0)
    problems.push_back("dropout: got " + nlohmann::json(given.dropout).dump() +
                       ", need 0: the llama family has none");
}

void check_ranges(const LlamaConfig& c, Problems& problems) {
  check_size("layers", c.layers, 1024, problems);
  check_size("heads", c.heads, 4096, problems);
  check_size("kv_heads", c.kv_heads, 4096, problems);
  check_size("head_dim", c.head_dim, kernels::largest_rotary_head, problems);
  check_size("width", c.width, 1 << 20, problems);
  check_size("ffn_width", c.ffn_width, 1 << 24, problems);
  check_size("vocab_size", c.vocab_size, 1 << 30, problems);
  check_size("context", c.context, 1 << 24, problems);
  check_rotary(c.rotary, problems);
  check_eps(c.eps, problems);
}

void check_relations(const LlamaConfig& c, Problems& problems) {
  if (c.heads > 0 && c.kv_heads > 0 && c.heads % c.kv_heads != 0)
    problems.push_back("kv_heads: got " + std::to_string(c.kv_heads) + ", need a divisor of " +
                       std::to_string(c.heads) + " heads");
  if (c.head_dim % 2 != 0)
    problems.push_back("head_dim: got " + std::to_string(c.head_dim) + ", need an even number");
  check_lora(c.lora, lora_sites_of(c), problems);
}

nlohmann::json describe(const LlamaConfig& c) {
  return {{"architecture", "llama"},
          {"kind", kind_names.at(static_cast<std::size_t>(c.kind))},
          {"layers", c.layers},
          {"heads", c.heads},
          {"kv_heads", c.kv_heads},
          {"head_dim", c.head_dim},
          {"width", c.width},
          {"ffn_width", c.ffn_width},
          {"vocab_size", c.vocab_size},
          {"context", c.context},
          {"rotary", describe(c.rotary)},
          {"eps", c.eps},
          {"tied", c.tied},
          {"loss_chunk_rows", head_chunk_rows(c.vocab_size)}};
}

}  // namespace sherd::model
