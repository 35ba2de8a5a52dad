// Hugging Face folders through our blocks against PyTorch's fp64 numbers
// (tests/fixtures/gpt2_parity/README.md).
#include <doctest/doctest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "model/whole_network.hpp"
#include "sherd/model/hugging_face.hpp"
#include "sherd/model/presets.hpp"
#include "sherd/model/tensor_map.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

const std::string networks[] = {"gpt2", "llama", "llama_tied", "qwen2", "qwen3"};

std::string folder_of(const std::string& network) {
  return SHERD_FIXTURES "/" + network + "_parity";
}
nlohmann::json expected(const std::string& network) {
  return nlohmann::json::parse(std::ifstream(folder_of(network) + "/expected.json"));
}

std::vector<double> flat(const nlohmann::json& rows) {
  std::vector<double> values;
  for (const auto& row : rows)
    for (const auto& value : row) values.push_back(value.get<double>());
  return values;
}

struct Step {
  double loss = 0;
  std::map<std::string, double> grad_norms;
};

double norm_of(const model::FolderTensor& tensor, const std::vector<double>& grad, Shape shape) {
  double square = 0;
  for (std::int64_t row = 0; row < shape.rows; ++row)
    for (std::int64_t col = 0; col < tensor.columns; ++col)
      square +=
          std::pow(grad[static_cast<std::size_t>(row * shape.cols + tensor.first_column + col)], 2);
  return std::sqrt(square);
}

Step run(const std::string& network_name, const std::vector<double>& inputs,
         const std::vector<double>& labels) {
  const model::ModelConfig config{.model = folder_of(network_name)};
  const WholeNetwork network(config, inputs, labels);
  std::map<std::string, std::vector<double>> grads;  // a tied parameter has one from each user
  for (const Rig& rig : network.rigs) {
    for (std::size_t i = 0; i < rig.grads.size(); ++i) {
      const std::vector<double> values = rig.grads[i].values();
      auto& sum = grads[network.name_of(rig, i)];
      sum.resize(values.size());
      for (std::size_t k = 0; k < values.size(); ++k) sum[k] += values[k];
    }
  }
  Step step{network.loss, {}};
  for (const model::FolderTensor& tensor : model::tensor_map(model::resolve(config)))
    for (const model::ParamSpec& param : network.spec().params)
      if (param.name == tensor.param)
        step.grad_norms[tensor.name] =
            norm_of(tensor, grads.at(param.name), param.shape) / network.tokens;
  return step;
}

void check_step(const nlohmann::json& want, const Step& got) {
  CHECK(got.loss == doctest::Approx(want["loss"].get<double>()).epsilon(2e-6));
  CHECK(got.grad_norms.size() == want["grad_norms"].size());
  double square = 0;
  for (const auto& [name, norm] : want["grad_norms"].items()) {
    CAPTURE(name);
    REQUIRE(got.grad_norms.contains(name));
    // A bias of the keys moves all scores of a query alike: where keys are not turned, by nothing.
    CHECK(std::abs(got.grad_norms.at(name) - norm.get<double>()) <
          2e-5 * norm.get<double>() + 1e-7);
    square += got.grad_norms.at(name) * got.grad_norms.at(name);
  }
  CHECK(std::sqrt(square) == doctest::Approx(want["grad_norm"].get<double>()).epsilon(2e-5));
}

}  // namespace

TEST_CASE("a Hugging Face folder gives PyTorch's loss and gradient norms, tensor by tensor") {
  for (const std::string& network : networks) {
    CAPTURE(network);
    const nlohmann::json want = expected(network);
    check_step(want["first_step"], run(network, flat(want["inputs"]), flat(want["labels"])));
  }
}

TEST_CASE("labels of -100 count nothing, as in PyTorch") {
  for (const std::string& network : networks) {
    CAPTURE(network);
    const nlohmann::json want = expected(network);
    check_step(want["masked"], run(network, flat(want["inputs"]), flat(want["masked"]["labels"])));
  }
}
