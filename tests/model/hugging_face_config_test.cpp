// config.json both ways (src/model/hugging_face_config.cpp).
#include <doctest/doctest.h>

#include <fstream>

#include "sherd/base/errors.hpp"
#include "sherd/model/hugging_face.hpp"
#include "sherd/model/presets.hpp"
#include "support/model_folder.hpp"

using namespace sherd;
using model::Gpt2Config;
using model::LlamaConfig;
using model::LlamaKind;
using nlohmann::json;
using sherd::test::ModelFolder;

namespace {

const std::string fixtures = SHERD_FIXTURES "/";

json good() {
  return {
      {"model_type", "gpt2"}, {"n_layer", 1},     {"n_head", 2},     {"n_embd", 4},
      {"n_inner", nullptr},   {"n_positions", 3}, {"vocab_size", 5}, {"layer_norm_epsilon", 1e-6}};
}
/// As transformers 4 spells a Llama 3.
json good_llama() {
  return {{"model_type", "llama"},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"hidden_size", 16},
          {"intermediate_size", 20},
          {"vocab_size", 37},
          {"max_position_embeddings", 128},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 500000.0},
          {"rope_scaling",
           {{"rope_type", "llama3"},
            {"factor", 8.0},
            {"low_freq_factor", 1.0},
            {"high_freq_factor", 4.0},
            {"original_max_position_embeddings", 64}}},
          {"tie_word_embeddings", true},
          {"torch_dtype", "bfloat16"}};
}
const LlamaConfig llama_of_good{.layers = 2,
                                .heads = 4,
                                .kv_heads = 2,
                                .head_dim = 4,
                                .width = 16,
                                .ffn_width = 20,
                                .vocab_size = 37,
                                .context = 128,
                                .rotary = {500000, kernels::RotaryScaling::llama3, 8, 1, 4, 64},
                                .eps = 1e-5f,
                                .tied = true};

model::Architecture read(const json& config) {
  const ModelFolder folder;
  folder.write("config.json", config.dump());
  return model::read_config(folder.path());
}
LlamaConfig read_llama(const json& config) { return std::get<LlamaConfig>(read(config)); }

/// The message of the DataError that reading this config.json gives; empty if it is accepted.
std::string refusal(const std::string& text) {
  const ModelFolder folder;
  folder.write("config.json", text);
  try {
    (void)model::read_config(folder.path());
  } catch (const DataError& error) {
    return error.what();
  }
  return {};
}
std::string refusal(const char* key, const json& value, json config = good()) {
  config[key] = value;
  return refusal(config.dump());
}
std::string llama_refusal(const char* key, const json& value) {
  return refusal(key, value, good_llama());
}
bool mentions(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a GPT-2 config.json gives the network's numbers") {
  CHECK(std::get<Gpt2Config>(model::read_config(fixtures + "gpt2_parity")) ==
        Gpt2Config{2, 3, 48, 192, 64, 16, 0, 1e-5f});
  json config = good();
  config.erase("n_positions");
  config["n_ctx"] = 9;
  config["n_inner"] = 7;
  config["resid_pdrop"] = 0.1;
  CHECK(std::get<Gpt2Config>(read(config)) == Gpt2Config{1, 2, 4, 7, 5, 9, 0, 1e-6f});
}

TEST_CASE("a config.json that is no GPT-2 of ours is refused with the key and the value") {
  CHECK(mentions(refusal("model_type", "mistral"), "model_type: got \"mistral\""));
  CHECK(mentions(refusal("model_type", nullptr), "model_type is missing"));
  CHECK(mentions(refusal("activation_function", "relu"), "activation_function: got \"relu\""));
  CHECK(mentions(refusal("tie_word_embeddings", false), "tie_word_embeddings: got false"));
  CHECK(mentions(refusal("scale_attn_by_inverse_layer_idx", true), "scale_attn_by_inverse"));
  CHECK(mentions(refusal("n_layer", nullptr), "n_layer is missing"));
  CHECK(mentions(refusal("n_head", 3), "heads: got 3, need a divisor of width 4"));
  CHECK(mentions(refusal("n_embd", -4), "n_embd: got -4"));
  CHECK(mentions(refusal("n_embd", "4"), "n_embd: got \"4\""));
  CHECK(mentions(refusal("n_embd", 4.5), "n_embd: got 4.5"));
  CHECK(mentions(refusal("n_layer", 1e9), "n_layer: got"));
  CHECK(mentions(refusal("n_layer", 1000000000), "layers: got 1000000000"));
  CHECK(mentions(refusal("vocab_size", std::uint64_t{1} << 63), "vocab_size: got"));
  CHECK(mentions(refusal("layer_norm_epsilon", 0), "layer_norm_epsilon: got 0"));
  CHECK(mentions(refusal("layer_norm_epsilon", 1e-60), "layer_norm_epsilon: got 1e-60"));
  CHECK(refusal(good().dump()).empty());
}

TEST_CASE("every bad key of a config.json is listed at once") {
  json config = good();
  config["n_layer"] = 0;
  config["activation_function"] = "relu";
  config.erase("vocab_size");
  const std::string text = refusal(config.dump());
  for (const char* key : {"n_layer", "activation_function", "vocab_size"})
    CHECK(mentions(text, key));
}

TEST_CASE("a config.json that is no object, or no JSON, or hostile is refused") {
  for (const std::string text : {"", "[]", "{\"model_type\": ", "null", "\"gpt2\"", "{} {}"})
    CHECK(!refusal(text).empty());
  CHECK(!refusal("{\"a\":" + std::string(100000, '[') + std::string(100000, ']') + "}").empty());
  CHECK(!refusal(std::string(2 << 20, ' ') + good().dump()).empty());
  CHECK_THROWS_AS((void)model::read_config("/nowhere"), DataError);
}

TEST_CASE("the config.json of a llama gives the network's numbers") {
  CHECK(read_llama(good_llama()) == llama_of_good);
  const auto fixture = [](const char* name) {
    return std::get<LlamaConfig>(model::read_config(fixtures + name));
  };
  const LlamaConfig llama = fixture("llama_parity");
  CHECK(llama == LlamaConfig{LlamaKind::llama,
                             2,
                             4,
                             2,
                             12,
                             48,
                             80,
                             64,
                             128,
                             {100, kernels::RotaryScaling::llama3, 8, 1, 4, 64},
                             1e-5f,
                             false});
  CHECK(fixture("llama_tied_parity") ==
        LlamaConfig{LlamaKind::llama, 2, 2, 2, 16, 32, 88, 64, 128, {10000}, 1e-6f, true});
  CHECK(fixture("qwen2_parity") ==
        LlamaConfig{LlamaKind::qwen2, 2, 3, 1, 16, 48, 96, 64, 128, {1e6}, 1e-6f, true});
  CHECK(fixture("qwen3_parity") ==
        LlamaConfig{LlamaKind::qwen3, 2, 4, 2, 16, 40, 72, 64, 128, {1e6}, 1e-6f, false});
}

TEST_CASE("every spelling of the rotary positions gives the same network") {
  json config = good_llama();
  json rope = config["rope_scaling"];
  rope["type"] = rope["rope_type"];
  rope.erase("rope_type");  // transformers before 4.43
  config["rope_scaling"] = rope;
  CHECK(read_llama(config) == llama_of_good);
  rope["rope_type"] = "llama3";
  rope["rope_theta"] = 500000.0;  // transformers 5
  config.erase("rope_scaling");
  config.erase("rope_theta");
  config["rope_parameters"] = rope;
  CHECK(read_llama(config) == llama_of_good);
  config["rope_scaling"] = nullptr;
  config["rope_theta"] = nullptr;
  CHECK(read_llama(config) == llama_of_good);

  LlamaConfig plain = llama_of_good;
  plain.rotary = {500000};
  config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 500000}};
  CHECK(read_llama(config) == plain);
  config.erase("rope_parameters");
  config["rope_theta"] = 500000;
  config["partial_rotary_factor"] = 1;
  CHECK(read_llama(config) == plain);
  plain.rotary = {10000, kernels::RotaryScaling::linear, 4};
  config.erase("rope_theta");
  config["rope_scaling"] = {{"type", "linear"}, {"factor", 4}};
  CHECK(read_llama(config) == plain);
}

TEST_CASE("absent keys of a llama mean what transformers takes them for") {
  json config = good_llama();
  for (const char* key : {"num_key_value_heads", "rms_norm_eps", "tie_word_embeddings"})
    config.erase(key);
  LlamaConfig usual = llama_of_good;
  usual.kv_heads = 4;
  usual.eps = 1e-6f;
  usual.tied = false;
  CHECK(read_llama(config) == usual);
  config["head_dim"] = nullptr;
  config["num_key_value_heads"] = nullptr;
  CHECK(read_llama(config) == usual);
  config["head_dim"] = 6;
  CHECK(read_llama(config).head_dim == 6);

  json qwen = good_llama();
  qwen["model_type"] = "qwen3";
  CHECK(read_llama(qwen).head_dim == 128);
  qwen["num_attention_heads"] = 64;
  qwen.erase("num_key_value_heads");
  CHECK(read_llama(qwen).kv_heads == 32);
  qwen["num_key_value_heads"] = nullptr;
  CHECK(read_llama(qwen).kv_heads == 64);
}

TEST_CASE("a window that is switched off is no window") {
  json config = good_llama();
  config["model_type"] = "qwen2";
  config["use_sliding_window"] = false;
  config["sliding_window"] = 64;
  config["max_window_layers"] = 1;
  config["layer_types"] = {"full_attention", "full_attention"};
  CHECK(read_llama(config).kind == LlamaKind::qwen2);
  config["layer_types"][1] = "sliding_attention";
  CHECK(mentions(refusal(config.dump()), "layer_types: got "));
  CHECK(mentions(llama_refusal("use_sliding_window", true), "use_sliding_window: got true"));
}

TEST_CASE("what a llama asks for and is not computed is refused by name") {
  const auto rope = [](const char* type) {
    return llama_refusal("rope_scaling", {{"type", type}, {"factor", 2}});
  };
  for (const char* type : {"yarn", "dynamic", "longrope"})
    CHECK(mentions(rope(type), "rope_scaling.rope_type: got \"" + std::string(type) + "\""));
  CHECK(mentions(rope("llama3"), "rope_scaling.low_freq_factor is missing"));
  CHECK(mentions(llama_refusal("rope_scaling", {{"type", "linear"}}), "factor is missing"));
  CHECK(mentions(llama_refusal("rope_scaling", {{"type", "default"}, {"beta_fast", 32}}),
                 "rope_scaling.beta_fast: got 32, need no such key"));
  CHECK(mentions(llama_refusal("rope_scaling", 2), "rope_scaling: got 2, need an object"));
  CHECK(mentions(llama_refusal("partial_rotary_factor", 0.5), "partial_rotary_factor: got 0.5"));
  CHECK(mentions(llama_refusal("mlp_bias", true), "mlp_bias: got true, need false"));
  CHECK(mentions(llama_refusal("attention_bias", true), "attention_bias: got true"));
  CHECK(mentions(llama_refusal("hidden_act", "gelu"), "hidden_act: got \"gelu\""));
  CHECK(mentions(llama_refusal("quantization_config", {{"bits", 4}}), "quantization_config"));
  CHECK(mentions(llama_refusal("tie_word_embeddings", "yes"), "need true or false"));
  CHECK(mentions(llama_refusal("rope_theta", -1), "rope_theta: got -1"));
  CHECK(mentions(llama_refusal("rope_theta", 0.5), "rope_theta: got 0.5"));
  CHECK(mentions(llama_refusal("num_attention_heads", 5), "a divisor of hidden_size 16"));
  CHECK(mentions(llama_refusal("num_key_value_heads", 3), "kv_heads: got 3"));
  CHECK(mentions(llama_refusal("head_dim", 7), "head_dim: got 7"));
  CHECK(mentions(llama_refusal("head_dim", 1000), "head_dim: got 1000"));
  CHECK(mentions(llama_refusal("hidden_size", nullptr), "hidden_size is missing"));
}

TEST_CASE("what is written is read back, whatever the network") {
  std::vector<model::Architecture> all;
  for (const model::Preset& preset : model::presets()) all.push_back(preset.architecture);
  for (const char* name : {"gpt2", "llama", "llama_tied", "qwen2", "qwen3"})
    all.push_back(model::read_config(fixtures + name + "_parity"));
  LlamaConfig odd = llama_of_good;
  odd.kind = LlamaKind::qwen2;
  odd.head_dim = 6;
  odd.rotary = {12345.678, kernels::RotaryScaling::linear, 2.5};
  all.emplace_back(odd);
  for (const model::Architecture& one : all)
    for (const DType stored : {DType::f32, DType::bf16, DType::f16})
      CHECK(read(json::parse(model::write_config(one, stored))) == one);
}

TEST_CASE("a written config.json says what transformers wrote for the same network") {
  for (const char* name : {"gpt2", "llama", "llama_tied", "qwen2", "qwen3"}) {
    CAPTURE(name);
    const std::string folder = fixtures + name + "_parity";
    const json theirs = json::parse(std::ifstream(folder + "/config.json"));
    const json ours = json::parse(model::write_config(model::read_config(folder), DType::bf16));
    CHECK(ours["torch_dtype"] == "bfloat16");
    for (const auto& [key, value] : ours.items()) {
      CAPTURE(key);
      if (theirs.contains(key) && !theirs[key].is_null()) CHECK(value == theirs[key]);
    }
    for (const char* key : {"architectures", "model_type", "vocab_size", "tie_word_embeddings"})
      CHECK(ours[key] == theirs[key]);
  }
}

TEST_CASE("a config.json cannot say that tensors are of another type") {
  CHECK_THROWS_AS((void)model::write_config(llama_of_good, DType::f64), UsageError);
}
