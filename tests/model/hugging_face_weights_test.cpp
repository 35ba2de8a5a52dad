// A folder's tensors as first parameters (src/model/hugging_face_weights.cpp).
#include <doctest/doctest.h>

#include <thread>

#include "sherd/base/errors.hpp"
#include "sherd/model/hugging_face.hpp"
#include "sherd/model/presets.hpp"
#include "sherd/model/tensor_map.hpp"
#include "support/model_folder.hpp"

using namespace sherd;
using sherd::test::FileTensor;
using sherd::test::ModelFolder;

namespace {

nlohmann::json good() {
  return {
      {"model_type", "gpt2"}, {"n_layer", 1},     {"n_head", 2},     {"n_embd", 4},
      {"n_inner", nullptr},   {"n_positions", 3}, {"vocab_size", 5}, {"layer_norm_epsilon", 1e-6}};
}

bool mentions(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Every tensor of a network; element i of the k-th one is k + i / 100.
std::vector<FileTensor> tensors(const model::ModelConfig& config) {
  std::vector<FileTensor> all;
  for (const model::FolderTensor& one : model::tensor_map(model::resolve(config))) {
    FileTensor tensor{one.name, one.shape, {}};
    std::uint64_t numel = 1;
    for (const std::uint64_t size : one.shape) numel *= size;
    for (std::uint64_t i = 0; i < numel; ++i)
      tensor.values.push_back(static_cast<float>(all.size()) + static_cast<float>(i) / 100);
    all.push_back(tensor);
  }
  return all;
}

struct Opened {
  ModelFolder folder;
  model::ModelConfig config{.model = folder.path(), .seed = 3};
  model::ModelSpec spec;
  explicit Opened(const nlohmann::json& network = good()) {
    folder.write("config.json", network.dump());
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

TEST_CASE("weights are read by ranges, with and without the prefix") {
  const Opened opened;
  std::vector<FileTensor> all = tensors(opened.config);
  for (std::size_t i = 0; i < all.size(); i += 2) all[i].name.erase(0, 12);  // "transformer."
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
  std::vector<FileTensor> all = tensors(opened.config);
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
  std::vector<FileTensor> all = tensors(opened.config);
  all[0].shape = {4, 5};  // wte, turned
  std::erase_if(all, [](const FileTensor& t) { return t.name.ends_with("h.0.mlp.c_fc.bias"); });
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
  std::vector<FileTensor> all = tensors(opened.config);
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
  const std::string whole = test::safetensors(tensors(opened.config));
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

namespace {

/// Wide enough for several panels of rows.
nlohmann::json llama() {
  return {{"model_type", "qwen2"},       {"num_hidden_layers", 1}, {"num_attention_heads", 4},
          {"num_key_value_heads", 2},    {"hidden_size", 600},     {"head_dim", 8},
          {"intermediate_size", 1000},   {"vocab_size", 5},        {"max_position_embeddings", 3},
          {"tie_word_embeddings", false}};
}

/// What `param` is, put together from whole tensors.
std::vector<float> whole(const model::ParamSpec& param, const model::ModelConfig& config,
                         const std::vector<FileTensor>& all) {
  const auto cols = static_cast<std::size_t>(param.shape.cols);
  const auto rows = static_cast<std::size_t>(param.shape.rows);
  std::vector<float> values(rows * cols, -1);
  const auto map = model::tensor_map(model::resolve(config));
  for (std::size_t k = 0; k < map.size(); ++k) {
    if (map[k].param != param.name) continue;
    const auto columns = static_cast<std::size_t>(map[k].columns);
    for (std::size_t i = 0; i < rows; ++i)
      for (std::size_t j = 0; j < columns; ++j)
        values[i * cols + static_cast<std::size_t>(map[k].first_column) + j] =
            all[k].values[map[k].transposed ? j * rows + i : i * columns + j];
  }
  return values;
}

}  // namespace

TEST_CASE("tensors that lie transposed and apart are read as one parameter") {
  const Opened opened(llama());
  const std::vector<FileTensor> all = tensors(opened.config);
  opened.folder.write("model.safetensors", test::safetensors(all));
  const auto weights = model::open_weights(opened.config, opened.spec);
  for (const model::ParamSpec& param : opened.spec.params) {
    CAPTURE(param.name);
    const std::vector<float> want = whole(param, opened.config, all);
    CHECK(read(*weights, param) == want);
    for (const std::size_t first : {std::size_t{1}, want.size() / 3, want.size() - 4}) {
      std::vector<float> part(std::min<std::size_t>(3, want.size() - first));
      weights->read(param, first, part);
      for (std::size_t i = 0; i < part.size(); ++i) CHECK(part[i] == want[first + i]);
    }
  }
}

TEST_CASE("tensors of 16 bits, and of both widths in one parameter, are read exactly") {
  for (const std::size_t every : {std::size_t{1}, std::size_t{2}}) {
    const Opened opened(llama());
    std::vector<FileTensor> all = tensors(opened.config);
    for (std::size_t k = 0; k < all.size(); ++k) {
      all[k].bf16 = k % every == 0;
      for (float& value : all[k].values) value = to_float(to_bfloat16(value));
    }
    opened.folder.write("model.safetensors", test::safetensors(all));
    const auto weights = model::open_weights(opened.config, opened.spec);
    for (const model::ParamSpec& param : opened.spec.params)
      CHECK(read(*weights, param) == whole(param, opened.config, all));
  }
}

TEST_CASE("several threads read one transposed parameter by pieces") {
  const Opened opened(llama());
  const std::vector<FileTensor> all = tensors(opened.config);
  opened.folder.write("model.safetensors", test::safetensors(all));
  const auto weights = model::open_weights(opened.config, opened.spec);
  const auto param = std::ranges::find_if(opened.spec.params, [](const model::ParamSpec& p) {
    return p.name == "layer0.mlp.gate_up_weight";
  });
  std::vector<float> got(static_cast<std::size_t>(param->shape.numel()));
  std::vector<std::thread> threads;
  constexpr std::size_t piece = 1 << 16;
  for (std::size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t at = t * piece; at < got.size(); at += 4 * piece)
        weights->read(*param, at, std::span(got).subspan(at, std::min(piece, got.size() - at)));
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(got == whole(*param, opened.config, all));
}

TEST_CASE("a tensor that a layer has and the network does not is refused") {
  nlohmann::json plain = llama();
  plain["model_type"] = "llama";
  const Opened opened(plain);
  std::vector<FileTensor> all = tensors(opened.config);
  all.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", {4}, std::vector<float>(4)});
  all.push_back({"model.layers.1.self_attn.q_proj.bias", {32}, std::vector<float>(32)});
  opened.folder.write("model.safetensors", test::safetensors(all));
  CHECK(opened.refusal().empty());
  all.push_back({"model.layers.0.self_attn.q_proj.bias", {32}, std::vector<float>(32)});
  opened.folder.write("model.safetensors", test::safetensors(all));
  CHECK(mentions(opened.refusal(), "layers.0.self_attn.q_proj.bias: the network has no such"));
}
