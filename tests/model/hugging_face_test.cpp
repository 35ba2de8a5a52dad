#include "sherd/model/hugging_face.hpp"

#include <doctest/doctest.h>

#include "sherd/base/errors.hpp"
#include "sherd/model/presets.hpp"
#include "support/model_folder.hpp"

using namespace sherd;
using sherd::test::FileTensor;
using sherd::test::ModelFolder;

namespace {

const std::string fixture = SHERD_FIXTURES "/gpt2_parity";

nlohmann::json good() {
  return {
      {"model_type", "gpt2"}, {"n_layer", 1},     {"n_head", 2},     {"n_embd", 4},
      {"n_inner", nullptr},   {"n_positions", 3}, {"vocab_size", 5}, {"layer_norm_epsilon", 1e-6}};
}

/// The message of the DataError that reading this config.json gives; empty if it is accepted.
std::string refusal(const std::string& text) {
  const ModelFolder folder;
  folder.write("config.json", text);
  try {
    (void)model::read_gpt2_config(folder.path());
  } catch (const DataError& error) {
    return error.what();
  }
  return {};
}
std::string refusal(const char* key, const nlohmann::json& value) {
  nlohmann::json config = good();
  config[key] = value;
  return refusal(config.dump());
}
bool mentions(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Every tensor of `good()`; element i of the k-th tensor is k + i / 100.
std::vector<FileTensor> tensors(const model::ModelSpec& spec) {
  std::vector<FileTensor> all;
  for (const model::ParamSpec& param : spec.params) {
    FileTensor tensor{model::hugging_face_name(param.name), {}, {}};
    if (param.shape.rows > 1) tensor.shape.push_back(static_cast<std::uint64_t>(param.shape.rows));
    tensor.shape.push_back(static_cast<std::uint64_t>(param.shape.cols));
    for (std::int64_t i = 0; i < param.shape.numel(); ++i)
      tensor.values.push_back(static_cast<float>(all.size()) + static_cast<float>(i) / 100);
    all.push_back(tensor);
  }
  return all;
}

struct Opened {
  ModelFolder folder;
  model::ModelConfig config{.model = folder.path(), .seed = 3};
  model::ModelSpec spec;
  Opened() {
    folder.write("config.json", good().dump());
    spec = model::declare(model::build(config).model, {}, {1, 3});
  }
  std::string refusal() const {
    try {
      (void)model::open_weights(config, spec);
    } catch (const DataError& error) {
      return error.what();
    }
    return {};
  }
};

std::vector<float> read(const model::Weights& weights, const model::ParamSpec& param) {
  std::vector<float> values(static_cast<std::size_t>(param.shape.numel()));
  weights.read(param, 0, values);
  return values;
}

}  // namespace

TEST_CASE("a GPT-2 config.json gives the network's numbers") {
  CHECK(model::read_gpt2_config(fixture) == model::Gpt2Config{2, 3, 48, 192, 64, 16, 0, 1e-5f});
  const ModelFolder folder;
  nlohmann::json config = good();
  config.erase("n_positions");
  config["n_ctx"] = 9;
  config["n_inner"] = 7;
  config["resid_pdrop"] = 0.1;
  folder.write("config.json", config.dump());
  CHECK(model::read_gpt2_config(folder.path()) == model::Gpt2Config{1, 2, 4, 7, 5, 9, 0, 1e-6f});
}

TEST_CASE("a config.json that is no GPT-2 of ours is refused with the key and the value") {
  CHECK(mentions(refusal("model_type", "llama"), "model_type: got \"llama\""));
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
  nlohmann::json config = good();
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
  CHECK_THROWS_AS((void)model::read_gpt2_config("/nowhere"), DataError);
}

TEST_CASE("weights are read by ranges, with and without the prefix") {
  const Opened opened;
  std::vector<FileTensor> all = tensors(opened.spec);
  for (std::size_t i = 0; i < all.size(); i += 2) all[i].name.insert(0, "transformer.");
  all.push_back({"lm_head.weight", {5, 4}, std::vector<float>(20)});
  all.push_back({"h.0.attn.bias", {1, 1, 3, 3}, std::vector<float>(9)});
  opened.folder.write("model.safetensors", test::safetensors(all));
  const auto weights = model::open_weights(opened.config, opened.spec);
  for (std::size_t k = 0; k < opened.spec.params.size(); ++k) {
    const model::ParamSpec& param = opened.spec.params[k];
    CHECK(read(*weights, param) == all[k].values);
    std::vector<float> part(2);
    weights->read(param, 1, part);
    CHECK(part == std::vector<float>(all[k].values.begin() + 1, all[k].values.begin() + 3));
  }
}

TEST_CASE("the fingerprint of weights changes with any value") {
  const Opened opened;
  std::vector<FileTensor> all = tensors(opened.spec);
  const auto fingerprint = [&] {
    opened.folder.write("model.safetensors", test::safetensors(all));
    return model::open_weights(opened.config, opened.spec)->fingerprint();
  };
  const std::uint64_t before = fingerprint();
  CHECK(fingerprint() == before);
  all.back().values.back() += 1;
  CHECK(fingerprint() != before);
}

TEST_CASE("every missing tensor and every wrong shape is listed at once") {
  const Opened opened;
  std::vector<FileTensor> all = tensors(opened.spec);
  all[0].shape = {4, 5};  // wte, turned
  std::erase_if(all, [](const FileTensor& t) { return t.name == "h.0.mlp.c_fc.bias"; });
  opened.folder.write("model.safetensors", test::safetensors(all));
  CHECK(mentions(opened.refusal(), "wte.weight: got [4, 5], need [5, 4]"));
  CHECK(mentions(opened.refusal(), "h.0.mlp.c_fc.bias is missing"));
}

TEST_CASE("a folder without weights is an error unless random ones are asked for") {
  Opened opened;
  CHECK(mentions(opened.refusal(), "--random-init"));
  opened.config.random_init = true;
  const auto weights = model::open_weights(opened.config, opened.spec);
  const auto random = model::random_weights(3);
  for (const model::ParamSpec& param : opened.spec.params)
    CHECK(read(*weights, param) == read(*random, param));
}

TEST_CASE("random initialisation fills what the folder lacks") {
  Opened opened;
  opened.config.random_init = true;
  std::vector<FileTensor> all = tensors(opened.spec);
  const std::vector<float> wpe = all[1].values;
  all.erase(all.begin());
  opened.folder.write("model.safetensors", test::safetensors(all));
  const auto weights = model::open_weights(opened.config, opened.spec);
  CHECK(read(*weights, opened.spec.params[0]) ==
        read(*model::random_weights(3), opened.spec.params[0]));
  CHECK(read(*weights, opened.spec.params[1]) == wpe);
}

TEST_CASE("a damaged weight file is refused, random initialisation or not") {
  Opened opened;
  const std::string whole = test::safetensors(tensors(opened.spec));
  for (const bool random : {false, true}) {
    opened.config.random_init = random;
    opened.folder.write("model.safetensors", whole.substr(0, whole.size() - 1));
    CHECK(!opened.refusal().empty());
    opened.folder.write("model.safetensors", std::string(8, '\xff') + whole.substr(8));
    CHECK(!opened.refusal().empty());
    opened.folder.write("model.safetensors", "");
    CHECK(!opened.refusal().empty());
  }
}
