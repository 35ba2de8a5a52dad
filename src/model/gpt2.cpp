#include "sherd/model/gpt2.hpp"

#include <algorithm>
#include <cmath>

#include "model/gpt2_blocks.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::model {

Init init_residual(std::int64_t layers) {
  return {0, 0.02f / std::sqrt(2.0f * static_cast<float>(layers))};
}

std::int64_t head_chunk_rows(std::int64_t vocab_size, DeviceKind kind) {
  const bool cpu =
      kind == DeviceKind::cpu;  // a device has memory for 1 GiB, and wants tall products
  const std::int64_t floats = std::int64_t{1} << (cpu ? 24 : 28);
  return std::clamp<std::int64_t>(floats / vocab_size / 64 * 64, 64, cpu ? 1024 : 32768);
}

Model gpt2(const Gpt2Config& c) {
  expects(c.layers > 0 && c.heads > 0 && c.width > 0 && c.ffn_width > 0 && c.vocab_size > 0 &&
              c.context > 0,
          "gpt2: every size must be positive");
  expects(c.width % c.heads == 0, "gpt2: got width " + std::to_string(c.width) +
                                      ", need a multiple of " + std::to_string(c.heads) + " heads");
  expects(c.dropout >= 0 && c.dropout < 1, "gpt2: dropout must be in [0, 1)");
  Model model;
  model.add<Gpt2Embed>("embed", c);
  for (std::int64_t i = 0; i < c.layers; ++i) {
    const std::string layer = "layer" + std::to_string(i);
    model.add<Gpt2Attention>(layer + ".attention", c);
    model.add<Gpt2Mlp>(layer + ".mlp", c);
  }
  model.end<Gpt2Head>(c);
  return model;
}

}  // namespace sherd::model
