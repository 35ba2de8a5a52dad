#include "sherd/model/gpt2.hpp"

#include "model/gpt2_blocks.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/model/language_head.hpp"

namespace sherd::model {

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
  model.end<LanguageHead>(LanguageHeadConfig{c.width, c.vocab_size, NormKind::layer, c.eps, "wte"});
  return model;
}

}  // namespace sherd::model
