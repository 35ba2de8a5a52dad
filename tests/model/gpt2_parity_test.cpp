// A Hugging Face folder through our blocks against PyTorch's fp64 numbers
// (tests/fixtures/gpt2_parity/README.md).
#include <doctest/doctest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "sherd/model/hugging_face.hpp"
#include "sherd/model/presets.hpp"
#include "support/block_check.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

const std::string folder = SHERD_FIXTURES "/gpt2_parity";

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

/// Loss and gradients of one batch, block after block, each on its own buffers.
Step run(const std::vector<double>& inputs, const std::vector<double>& labels) {
  const model::ModelConfig config{.model = folder};
  model::Network network = model::build(config);
  std::vector<Rig> rigs;
  for (std::size_t i = 0; i <= network.model.blocks.size(); ++i)
    rigs.emplace_back(network.model, i, RigOptions{.rows = {4, 16}, .vocabulary = 64});
  const auto weights = model::open_weights(config, rigs[0].whole);
  for (Rig& rig : rigs) {
    rig.inputs.set(inputs);
    rig.labels.set(labels);
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
  for (std::size_t i = head; i-- > 0;) {
    rigs[i].d_out.set(rigs[i + 1].d_in.values());
    rigs[i].backward();
  }

  std::map<std::string, std::vector<double>> grads;  // a tied parameter has one from each user
  for (const Rig& rig : rigs) {
    for (std::size_t i = 0; i < rig.grads.size(); ++i) {
      const std::vector<double> values = rig.grads[i].values();
      auto& sum = grads[rig.whole.params[rig.spec.params[i]].name];
      sum.resize(values.size());
      for (std::size_t k = 0; k < values.size(); ++k) sum[k] += values[k];
    }
  }
  Step step{sums.loss.value() / tokens, {}};
  for (const auto& [name, grad] : grads) {
    double square = 0;
    for (const double x : grad) square += x * x;
    step.grad_norms["transformer." + model::hugging_face_name(name)] = std::sqrt(square) / tokens;
  }
  return step;
}

void check_step(const nlohmann::json& want, const Step& got) {
  CHECK(got.loss == doctest::Approx(want["loss"].get<double>()).epsilon(2e-6));
  CHECK(got.grad_norms.size() == want["grad_norms"].size());
  double square = 0;
  for (const auto& [name, norm] : want["grad_norms"].items()) {
    CAPTURE(name);
    REQUIRE(got.grad_norms.contains(name));
    CHECK(got.grad_norms.at(name) == doctest::Approx(norm.get<double>()).epsilon(2e-5));
    square += got.grad_norms.at(name) * got.grad_norms.at(name);
  }
  CHECK(std::sqrt(square) == doctest::Approx(want["grad_norm"].get<double>()).epsilon(2e-5));
}

}  // namespace

TEST_CASE("a Hugging Face GPT-2 gives PyTorch's loss and gradient norms, tensor by tensor") {
  const nlohmann::json want = nlohmann::json::parse(std::ifstream(folder + "/expected.json"));
  check_step(want["first_step"], run(flat(want["inputs"]), flat(want["labels"])));
}

TEST_CASE("labels of -100 count nothing, as in PyTorch") {
  const nlohmann::json want = nlohmann::json::parse(std::ifstream(folder + "/expected.json"));
  check_step(want["masked"], run(flat(want["inputs"]), flat(want["masked"]["labels"])));
}
