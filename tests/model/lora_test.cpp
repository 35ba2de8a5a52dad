// Adapters through our blocks against PEFT's fp64 numbers (tests/fixtures/lora/README.md).
#include "sherd/model/lora.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "sherd/base/errors.hpp"
#include "sherd/model/hugging_face.hpp"
#include "sherd/model/presets.hpp"
#include "sherd/model/tensor_map.hpp"
#include "support/block_check.hpp"

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
    model::Network network = model::build(config);
    std::vector<Rig> rigs;
    for (std::size_t i = 0; i <= network.model.blocks.size(); ++i)
      rigs.emplace_back(network.model, i, RigOptions{.rows = {4, 16}, .vocabulary = 64});
    const auto weights = model::open_weights(config, rigs[0].whole);
    for (Rig& rig : rigs) {
      rig.inputs.set(flat(base.at("inputs")));
      rig.labels.set(flat(base.at("labels")));
      for (std::size_t i = 0; i < rig.params.size(); ++i)
        weights->read(rig.whole.params[rig.spec.params[i]], 0, rig.params[i].view().span<float>());
    }
    const std::size_t head = rigs.size() - 1;
    for (std::size_t i = 0; i < head; ++i) {
      rigs[i].forward();
      rigs[i + 1].in.set(rigs[i].out.values());
    }
    const kernels::LossSum sums = rigs[head].loss(true);
    const auto tokens = static_cast<double>(sums.tokens);
    CHECK(sums.loss.value() / tokens ==
          doctest::Approx(want.at("loss").get<double>()).epsilon(2e-6));
    for (std::size_t i = head; i-- > 0;) {
      rigs[i].d_out.set(rigs[i + 1].d_in.values());
      rigs[i].backward();
    }
    std::map<std::string, double> norms;
    for (const Rig& rig : rigs)
      for (std::size_t i = 0; i < rig.grads.size(); ++i)
        norms[rig.whole.params[rig.spec.params[i]].name] = norm_of(rig.grads[i].values()) / tokens;
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
    const auto loss = [&](std::int64_t rank) {
      const model::ModelConfig config{.model = SHERD_FIXTURES "/" + name + "_parity",
                                      .lora_rank = rank,
                                      .lora_targets = {"all"}};
      model::ModelConfig plain = config;
      if (rank == 0) plain.lora_targets.clear();
      model::Network network = model::build(plain);
      std::vector<double> out;
      std::unique_ptr<model::Weights> weights;
      for (std::size_t i = 0; i < network.model.blocks.size(); ++i) {
        Rig rig(network.model, i, RigOptions{.rows = {4, 16}, .vocabulary = 64});
        if (!weights) weights = model::open_weights(plain, rig.whole);
        rig.inputs.set(flat(expected(plain.model).at("inputs")));
        for (std::size_t p = 0; p < rig.params.size(); ++p)
          weights->read(rig.whole.params[rig.spec.params[p]], 0,
                        rig.params[p].view().span<float>());
        if (i > 0) rig.in.set(out);
        rig.forward();
        out = rig.out.values();
      }
      return out;
    };
    CHECK(loss(7) == loss(0));
  }
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
  CHECK(refused({.lora_targets = {"c_attn"}}).find("needs lora_rank") != std::string::npos);
  CHECK(refused({.lora_rank = 2, .lora_targets = {"q_proj"}}).find("got 'q_proj', need all") !=
        std::string::npos);
  CHECK(refused({.lora_from = adapters_of("llama")}).find("the network lacks q_proj") !=
        std::string::npos);
  CHECK(refused({.lora_from = "/nonexistent"}).find("adapter_config.json") != std::string::npos);
}
