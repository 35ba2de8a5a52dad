// Adapters through our blocks against PEFT's fp64 numbers (tests/fixtures/lora/README.md).
#include "sherd/model/lora.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "io/temp_folder.hpp"
#include "model/whole_network.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/model/hugging_face.hpp"
#include "sherd/model/presets.hpp"
#include "sherd/model/tensor_map.hpp"

using namespace sherd;
using namespace sherd::test;
using nlohmann::json;

namespace {

const std::string networks[] = {"gpt2", "llama", "qwen2", "qwen3"};

std::string adapters_of(const std::string& network) { return SHERD_FIXTURES "/lora/" + network; }
json expected(const std::string& folder) {
  return json::parse(std::ifstream(folder + "/expected.json"));
}
model::ModelConfig config_of(const std::string& network) {
  return {.model = SHERD_FIXTURES "/" + network + "_parity", .lora_from = adapters_of(network)};
}

std::vector<double> flat(const json& rows) {
  std::vector<double> values;
  for (const auto& row : rows)
    for (const auto& value : row) values.push_back(value.get<double>());
  return values;
}

double norm_of(const std::vector<double>& values) {
  double square = 0;
  for (const double value : values) square += value * value;
  return std::sqrt(square);
}

/// PEFT's name in the network: "….lora_A.default.weight".
std::string in_network(std::string name) { return name.insert(name.rfind(".weight"), ".default"); }

}  // namespace

TEST_CASE("adapters give PEFT's loss and gradient norms, tensor by tensor") {
  for (const std::string& name : networks) {
    CAPTURE(name);
    const model::ModelConfig config = config_of(name);
    const json want = expected(adapters_of(name)).at("first_step"), base = expected(config.model);
    const WholeNetwork network(config, flat(base.at("inputs")), flat(base.at("labels")));
    CHECK(network.loss == doctest::Approx(want.at("loss").get<double>()).epsilon(2e-6));
    std::map<std::string, double> norms;
    for (const Rig& rig : network.rigs)
      for (std::size_t i = 0; i < rig.grads.size(); ++i)
        norms[network.name_of(rig, i)] = norm_of(rig.grads[i].values()) / network.tokens;
    const auto tensors = model::adapter_map(model::resolve(config));
    CHECK(tensors.size() == want.at("grad_norms").size());
    for (const model::FolderTensor& tensor : tensors) {
      CAPTURE(tensor.name);
      const double norm = want.at("grad_norms").at(in_network(tensor.name)).get<double>();
      CHECK(norms.at(tensor.param) == doctest::Approx(norm).epsilon(2e-5));
    }
  }
}

TEST_CASE("a network starts as the frozen one, whatever the rank") {
  for (const std::string& name : networks) {
    CAPTURE(name);
    const json base = expected(SHERD_FIXTURES "/" + name + "_parity");
    const auto before_head = [&](std::int64_t rank) {
      model::ModelConfig config{.model = SHERD_FIXTURES "/" + name + "_parity", .lora_rank = rank};
      if (rank > 0) config.lora_targets = {"all"};
      const WholeNetwork network(config, flat(base.at("inputs")), flat(base.at("labels")));
      return network.rigs.back().in.values();
    };
    CHECK(before_head(7) == before_head(0));
  }
}

TEST_CASE("adapters of other kinds, and tensors that nothing takes, are refused by their name") {
  const test::TempFolder folder;
  const auto refused = [&](const char* key, const json& value) -> std::string {
    json config = json::parse(std::ifstream(adapters_of("qwen2") + "/adapter_config.json"));
    config[key] = value;
    std::ofstream(folder.path() + "/adapter_config.json") << config;
    model::ModelConfig given = config_of("qwen2");
    given.lora_from = folder.path();
    try {
      model::Network network = model::build(given);
      const Rig rig(network.model, 0, RigOptions{.rows = {4, 16}, .vocabulary = 64});
      (void)model::open_weights(given, rig.whole);
    } catch (const DataError& error) {
      return error.what();
    }
    return "";
  };
  std::filesystem::copy(adapters_of("qwen2") + "/adapter_model.safetensors", folder.path());
  CHECK(refused("lora_dropout", 0.1).empty());
  CHECK(refused("init_lora_weights", "gaussian").empty());
  const std::pair<const char*, json> others[] = {{"peft_type", "LOHA"},
                                                 {"bias", "all"},
                                                 {"use_dora", true},
                                                 {"use_rslora", true},
                                                 {"init_lora_weights", "pissa"},
                                                 {"init_lora_weights", "olora"},
                                                 {"rank_pattern", {{"q_proj", 4}}},
                                                 {"alpha_pattern", {{"q_proj", 4}}},
                                                 {"loftq_config", {{"bits", 4}}},
                                                 {"modules_to_save", {"lm_head"}},
                                                 {"layers_to_transform", {0}},
                                                 {"exclude_modules", {"o_proj"}},
                                                 {"alora_invocation_tokens", {1}},
                                                 {"kasa_config", json::object()},
                                                 {"velora_config", json::object()},
                                                 {"target_modules", json::array()},
                                                 {"r", 4097},
                                                 {"lora_alpha", 1e-60},
                                                 {"lora_alpha", 0}};
  for (const auto& [key, value] : others) {
    CAPTURE(key);
    CHECK(refused(key, value).find(std::string("adapter_config.json")) != std::string::npos);
    CHECK(refused(key, value).find(std::string(key) + ": got ") != std::string::npos);
  }
  const std::string lost = refused("target_modules", {"q_proj"});
  CHECK(lost.find("layers.1.mlp.up_proj.lora_B.weight: the network has no such tensor") !=
        std::string::npos);
  std::filesystem::remove(folder.path() + "/adapter_model.safetensors");
  CHECK(refused("r", 2).find("has neither adapter_model.safetensors nor") != std::string::npos);
}

TEST_CASE("what is no adapter of the network is refused") {
  const auto refused = [](const model::ModelConfig& config) -> std::string {
    try {
      (void)model::build(config);
    } catch (const std::exception& error) {
      return error.what();
    }
    return "";
  };
  CHECK(refused({.lora_alpha = 8}).find("lora_alpha: needs lora_rank") != std::string::npos);
  CHECK(refused({.lora_alpha = 8, .lora_from = adapters_of("gpt2")}).find("none of the three") !=
        std::string::npos);
  CHECK(refused({.lora_targets = {"c_attn"}}).find("needs lora_rank") != std::string::npos);
  CHECK(refused({.lora_rank = 2, .lora_targets = {"q_proj"}}).find("got 'q_proj', need all") !=
        std::string::npos);
  CHECK(refused({.lora_from = adapters_of("llama")})
            .find("lora_targets: got 'q_proj', but the network has no such product") !=
        std::string::npos);
  CHECK(refused({.lora_from = "/nonexistent"}).find("adapter_config.json") != std::string::npos);
}
