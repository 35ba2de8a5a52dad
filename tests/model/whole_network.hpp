#pragma once
// A network of the fixtures as one batch goes through it, block after block, each on its own
// buffers.
#include <string>
#include <vector>

#include "sherd/model/hugging_face.hpp"
#include "sherd/model/presets.hpp"
#include "support/block_check.hpp"

namespace sherd::test {

class WholeNetwork {
 public:
  /// Four windows of 16 tokens, forward and backward.
  WholeNetwork(const model::ModelConfig& config, const std::vector<double>& inputs,
               const std::vector<double>& labels)
      : network_(model::build(config)) {
    for (std::size_t i = 0; i <= network_.model.blocks.size(); ++i)
      rigs.emplace_back(network_.model, i, RigOptions{.rows = {4, 16}, .vocabulary = 64});
    const auto weights = model::open_weights(config, spec());
    for (Rig& rig : rigs) {
      rig.inputs.set(inputs);
      rig.labels.set(labels);
      for (std::size_t i = 0; i < rig.params.size(); ++i)
        weights->read(spec().params[rig.spec.params[i]], 0, rig.params[i].view().span<float>());
    }
    const std::size_t head = rigs.size() - 1;
    for (std::size_t i = 0; i < head; ++i) {
      rigs[i].forward();
      rigs[i + 1].in.set(rigs[i].out.values());
    }
    const kernels::LossSum sums = rigs[head].loss(true);
    tokens = static_cast<double>(sums.tokens);
    loss = sums.loss.value() / tokens;
    for (std::size_t i = head; i-- > 0;) {
      rigs[i].d_out.set(rigs[i + 1].d_in.values());
      rigs[i].backward();
    }
  }
  WholeNetwork(const WholeNetwork&) = delete;
  WholeNetwork& operator=(const WholeNetwork&) = delete;

  [[nodiscard]] const model::ModelSpec& spec() const { return rigs.front().whole; }
  [[nodiscard]] const std::string& name_of(const Rig& rig, std::size_t param) const {
    return spec().params[rig.spec.params[param]].name;
  }

 private:
  model::Network network_;  // which rigs refer to

 public:
  std::vector<Rig> rigs;  // the last one is the head
  double loss = 0, tokens = 0;
};

}  // namespace sherd::test
