#include "model/init.hpp"
#include "model/llama_blocks.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/kernels/embedding.hpp"

namespace sherd::model {

void LlamaEmbed::declare(Declare& d) const {
  const LlamaConfig& c = config_;
  const Shape rows = d.rows();
  expects(rows.cols <= c.context, "llama: got sequences of " + std::to_string(rows.cols) +
                                      " tokens, need at most the context of " +
                                      std::to_string(c.context));
  d.output({rows.numel(), c.width});
  d.param("table", {c.vocab_size, c.width}, init_weight);
  d.backward_reads({});
  d.scratch(0, kernels::embedding_backward_scratch(rows, c.vocab_size, c.width, d.target()));
}

void LlamaEmbed::forward(const Forward& f) {
  kernels::embedding({f.batch.inputs, f.params[0], {}, f.out}, f.stream);
}

void LlamaEmbed::backward(const Backward& b) {
  kernels::embedding_backward({b.batch.inputs, b.d_out, b.grads[0], {}, b.scratch}, b.stream);
}

}  // namespace sherd::model
