#include <algorithm>
#include <array>

#include "model/hugging_face_keys.hpp"

namespace sherd::model {
namespace {

using kernels::Rotary;
using kernels::RotaryScaling;
using nlohmann::json;

constexpr std::array model_types{"llama", "qwen2", "qwen3"};
constexpr std::array architectures{"LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"};

/// What a rope object may hold; anything else asks for what is not computed.
constexpr std::array<std::string_view, 8> rope_keys{
    "type",   "rope_type",       "rope_theta",       "partial_rotary_factor",
    "factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"};

void read_scaling(JsonKeys& rope, std::int64_t context, Rotary& r) {
  const json* type = rope.find("rope_type");
  if (type == nullptr) type = rope.find("type");
  if (type == nullptr || *type == "default") return;
  if (*type != "linear" && *type != "llama3") {
    rope.problem("rope_type", *type, "\"default\", \"linear\" or \"llama3\"");
    return;
  }
  r.factor = rope.needed_number("factor");
  r.scaling = *type == "linear" ? RotaryScaling::linear : RotaryScaling::llama3;
  if (r.scaling == RotaryScaling::linear) return;
  r.low_freq_factor = rope.needed_number("low_freq_factor");
  r.high_freq_factor = rope.needed_number("high_freq_factor");
  r.original_context =
      static_cast<double>(rope.count("original_max_position_embeddings").value_or(context));
}

/// Versions before 5 have `rope_theta` and `rope_scaling`, later ones `rope_parameters` with both.
Rotary read_rotary(JsonKeys& keys, std::int64_t context) {
  Rotary r{.theta = keys.number("rope_theta").value_or(10000)};
  keys.only("partial_rotary_factor", {1.0});
  const bool older = keys.find("rope_scaling") != nullptr;
  const char* name = older ? "rope_scaling" : "rope_parameters";
  const json* object = keys.find(name);
  if (object == nullptr) return r;
  if (!object->is_object()) {
    keys.problem(name, *object, "an object");
    return r;
  }
  JsonKeys rope(*object, std::string(name) + ".");
  r.theta = rope.number("rope_theta").value_or(r.theta);
  rope.only("partial_rotary_factor", {1.0});
  for (const auto& [key, value] : object->items())
    if (std::ranges::find(rope_keys, key) == rope_keys.end())
      rope.problem(io::printable(key), value, "no such key");
  read_scaling(rope, context, r);
  keys.problems.insert(keys.problems.end(), rope.problems.begin(), rope.problems.end());
  return r;
}

void refuse_what_is_not_computed(JsonKeys& keys) {
  keys.only("hidden_act", {"silu", "swish"});
  keys.only("attention_bias", {false});
  keys.only("mlp_bias", {false});
  keys.only("use_sliding_window", {false});
  keys.only("use_mrope", {false});
  const json* layers = keys.find("layer_types");
  if (layers == nullptr) return;
  const bool full = layers->is_array() && std::ranges::all_of(*layers, [](const json& one) {
                      return one == "full_attention";
                    });
  if (!full) keys.problem("layer_types", *layers, "\"full_attention\" everywhere");
}

// transformers fills in these where a key is absent; null means "from the other numbers".
std::int64_t read_kv_heads(JsonKeys& keys, LlamaKind kind, std::int64_t heads) {
  const bool absent = !keys.says_null("num_key_value_heads");
  const std::int64_t usual = kind != LlamaKind::llama && absent ? 32 : heads;
  return keys.count("num_key_value_heads").value_or(usual);
}
std::int64_t read_head_dim(JsonKeys& keys, const LlamaConfig& c) {
  if (const auto given = keys.count("head_dim")) return *given;
  if (c.kind == LlamaKind::qwen3 && !keys.says_null("head_dim")) return 128;
  if (c.width % c.heads == 0) return c.width / c.heads;
  keys.problem("num_attention_heads", c.heads,
               "a divisor of hidden_size " + std::to_string(c.width) + ", or a head_dim");
  return 2;
}

json write_scaling(const Rotary& r) {
  if (r.scaling == RotaryScaling::none) return nullptr;
  if (r.scaling == RotaryScaling::linear)
    return {{"rope_type", "linear"}, {"type", "linear"}, {"factor", r.factor}};
  return {{"rope_type", "llama3"},
          {"factor", r.factor},
          {"low_freq_factor", r.low_freq_factor},
          {"high_freq_factor", r.high_freq_factor},
          {"original_max_position_embeddings", static_cast<std::int64_t>(r.original_context)}};
}

}  // namespace

LlamaConfig read_llama(JsonKeys& keys, LlamaKind kind) {
  LlamaConfig c{.kind = kind};
  c.layers = keys.needed("num_hidden_layers");
  c.heads = keys.needed("num_attention_heads");
  c.kv_heads = read_kv_heads(keys, kind, c.heads);
  c.width = keys.needed("hidden_size");
  c.head_dim = read_head_dim(keys, c);
  c.ffn_width = keys.needed("intermediate_size");
  c.vocab_size = keys.needed("vocab_size");
  c.context = keys.needed("max_position_embeddings");
  c.rotary = read_rotary(keys, c.context);
  c.eps = keys.fraction("rms_norm_eps", 1e-6f);
  c.tied = keys.flag("tie_word_embeddings", false);
  refuse_what_is_not_computed(keys);
  return c;
}

json write_keys(const LlamaConfig& c) {
  const auto kind = static_cast<std::size_t>(c.kind);
  json keys{{"architectures", json::array({architectures.at(kind)})},
            {"model_type", model_types.at(kind)},
            {"attention_dropout", 0.0},
            {"hidden_act", "silu"},
            {"hidden_size", c.width},
            {"initializer_range", 0.02},
            {"intermediate_size", c.ffn_width},
            {"max_position_embeddings", c.context},
            {"num_attention_heads", c.heads},
            {"num_hidden_layers", c.layers},
            {"num_key_value_heads", c.kv_heads},
            {"rms_norm_eps", shortest(c.eps)},
            {"rope_scaling", write_scaling(c.rotary)},
            {"rope_theta", c.rotary.theta},
            {"tie_word_embeddings", c.tied},
            {"vocab_size", c.vocab_size}};
  if (c.kind != LlamaKind::qwen2) keys["attention_bias"] = false;
  if (c.kind == LlamaKind::llama) keys["mlp_bias"] = false;
  if (c.kind != LlamaKind::llama) keys["use_sliding_window"] = false;
  if (c.kind != LlamaKind::qwen2 || c.width != c.attention_width()) keys["head_dim"] = c.head_dim;
  return keys;
}

}  // namespace sherd::model
