#include "model/hugging_face_keys.hpp"

namespace sherd::model {

Gpt2Config read_gpt2(JsonKeys& keys) {
  Gpt2Config c;
  c.layers = keys.needed("n_layer");
  c.heads = keys.needed("n_head");
  c.width = keys.needed("n_embd");
  c.ffn_width = keys.count("n_inner").value_or(4 * c.width);
  c.vocab_size = keys.needed("vocab_size");
  const auto positions = keys.count("n_positions"), older = keys.count("n_ctx");
  if (!positions && !older) keys.missing("n_positions");
  c.context = positions.value_or(older.value_or(1));
  c.eps = keys.fraction("layer_norm_epsilon", 1e-5f);
  keys.only("activation_function", {"gelu_new", "gelu_pytorch_tanh"});
  keys.only("tie_word_embeddings", {true});
  keys.only("scale_attn_weights", {true});
  keys.only("scale_attn_by_inverse_layer_idx", {false});
  keys.only("add_cross_attention", {false});
  return c;
}

nlohmann::json write_keys(const Gpt2Config& c) {
  return {{"architectures", nlohmann::json::array({"GPT2LMHeadModel"})},
          {"model_type", "gpt2"},
          {"activation_function", "gelu_new"},
          {"attn_pdrop", 0.0},
          {"embd_pdrop", shortest(c.dropout)},
          {"layer_norm_epsilon", shortest(c.eps)},
          {"n_ctx", c.context},
          {"n_embd", c.width},
          {"n_head", c.heads},
          {"n_inner", c.ffn_width},
          {"n_layer", c.layers},
          {"n_positions", c.context},
          {"resid_pdrop", shortest(c.dropout)},
          {"tie_word_embeddings", true},
          {"vocab_size", c.vocab_size}};
}

}  // namespace sherd::model
