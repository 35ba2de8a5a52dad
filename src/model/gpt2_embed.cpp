#include "model/carver.hpp"
#include "model/gpt2_blocks.hpp"
#include "model/substream.hpp"
#include "sherd/kernels/elementwise.hpp"
#include "sherd/kernels/embedding.hpp"

namespace sherd::model {
namespace {

enum Params : std::size_t { wte, wpe };

}  // namespace

void Gpt2Embed::declare(Declare& d) const {
  const Gpt2Config& c = config_;
  const Shape rows = d.rows();
  expects(rows.cols <= c.context, "gpt2: got sequences of " + std::to_string(rows.cols) +
                                      " tokens, need at most the context of " +
                                      std::to_string(c.context));
  d.output({rows.numel(), c.width});
  d.param("wte", {c.vocab_size, c.width}, init_weight);
  d.param("wpe", {c.context, c.width}, init_weight);
  d.backward_reads({});
  if (c.dropout > 0) d.random();
  Carver scratch;
  if (c.dropout > 0) scratch.take({rows.numel(), c.width}, d.target().compute);
  scratch.take(kernels::embedding_backward_scratch(rows, c.vocab_size, c.width, d.target()));
  d.scratch(0, scratch.used());
}

void Gpt2Embed::forward(const Forward& f) {
  kernels::embedding({f.batch.inputs, f.params[wte], f.params[wpe], f.out}, f.stream);
  if (config_.dropout > 0 && f.training)
    kernels::dropout({f.out, {}, f.out, config_.dropout, substream(f.rng, 1)}, f.stream);
}

void Gpt2Embed::extend(const Extend& e) {
  const Forward& f = e.rows;
  const View positions = f.params[wpe].rows(e.first_position, f.batch.inputs.shape.cols);
  kernels::embedding({f.batch.inputs, f.params[wte], positions, f.out}, f.stream);
}

void Gpt2Embed::backward(const Backward& b) {
  Carver scratch(b.scratch);
  View d_sum = b.d_out;
  if (config_.dropout > 0) {
    d_sum = scratch.take(b.d_out.shape, b.d_out.type);
    kernels::dropout({b.d_out, {}, d_sum, config_.dropout, substream(b.rng, 1)}, b.stream);
  }
  kernels::embedding_backward({b.batch.inputs, d_sum, b.grads[wte], b.grads[wpe], scratch.rest()},
                              b.stream);
}

}  // namespace sherd::model
