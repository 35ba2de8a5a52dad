#include <algorithm>

#include "model/carver.hpp"
#include "model/gpt2_blocks.hpp"
#include "model/key_value_cache.hpp"
#include "model/rebuild.hpp"
#include "model/substream.hpp"
#include "sherd/kernels/attention.hpp"
#include "sherd/kernels/elementwise.hpp"
#include "sherd/kernels/norm_layer.hpp"
#include "sherd/model/linear.hpp"

namespace sherd::model {
namespace {

enum Params : std::size_t { ln_gamma, ln_beta, qkv_weight, qkv_bias, proj_weight, proj_bias };
enum Saves : std::size_t { mean, rstd, ln, qkv, attended, lse };

kernels::AttentionShape attention_shape(const Gpt2Config& c, Shape rows) {
  return {rows.rows, rows.cols, c.heads, c.width / c.heads};
}

Bytes linears(const Gpt2Config& c, std::int64_t rows, const Target& target) {
  return std::max(linear_scratch({rows, c.width, 3 * c.width}, target),
                  linear_scratch({rows, c.width, c.width}, target));
}

}  // namespace

Gpt2Attention::Gpt2Attention(const Gpt2Config& c)
    : config_(c),
      qkv_(c.lora, c.width, {{"c_attn", 0, 3 * c.width}}, {proj_bias + 1, lse + 1}),
      proj_(c.lora, c.width, {{"c_proj", 0, c.width}}, qkv_.end()) {}

void Gpt2Attention::declare(Declare& d) const {
  const std::int64_t n = d.rows().numel(), width = config_.width;
  const Target target = d.target();
  d.input({n, width});
  d.output({n, width});
  const ParamId gamma = d.param("ln_gamma", {1, width}, init_one);
  const ParamId beta = d.param("ln_beta", {1, width}, init_zero);
  const ParamId qkv_w = d.param("qkv_weight", {width, 3 * width}, init_weight);
  d.param("qkv_bias", {1, 3 * width}, init_zero);
  const ParamId proj_w = d.param("proj_weight", {width, width}, init_residual(config_.layers));
  d.param("proj_bias", {1, width}, init_zero);
  d.backward_reads({gamma, beta, qkv_w, proj_w});  // beta: to rebuild a lost norm
  d.save("mean", {n, 1}, DType::f32);
  d.save("rstd", {n, 1}, DType::f32);
  d.save("ln", {n, width}, target.compute, Keep::cheap);
  d.save("qkv", {n, 3 * width}, target.compute);
  d.save("attended", {n, width}, target.compute);
  d.save("lse", {d.rows().rows * config_.heads, d.rows().cols}, DType::f32);
  qkv_.declare(d, n);
  proj_.declare(d, n);
  d.save_input();
  if (config_.dropout > 0) d.random();

  const kernels::AttentionShape shape = attention_shape(config_, d.rows());
  const Bytes products =
      std::max({linears(config_, n, target), qkv_.scratch(n, target), proj_.scratch(n, target)});
  Carver backward;
  backward.take({n, 3 * width}, target.compute);
  backward.take(
      std::max({products, kernels::attention_backward_scratch(shape, target),
                kernels::layer_norm_backward_scratch(n, width, target), rebuild_scratch(n)}));
  d.scratch(std::max(products, kernels::attention_scratch(shape, target)), backward.used());
}

template <class Attend>
void Gpt2Attention::branch(const Forward& f, Attend attend) const {
  const auto& [p, s] = std::pair(f.params, f.saves);
  kernels::layer_norm({f.in, p[ln_gamma], p[ln_beta], s[ln], s[mean], s[rstd], config_.eps},
                      f.stream);
  linear({s[ln], p[qkv_weight], p[qkv_bias], s[qkv], f.scratch}, f.stream);
  qkv_.add_to(s[qkv], s[ln], f);
  attend(attention_shape(config_, f.batch.inputs.shape));
  linear({s[attended], p[proj_weight], p[proj_bias], f.out, f.scratch}, f.stream);
  proj_.add_to(f.out, s[attended], f);
  const float drop = f.training ? config_.dropout : 0;
  kernels::dropout({f.out, f.in, f.out, drop, substream(f.rng, 1)}, f.stream);
}

void Gpt2Attention::forward(const Forward& f) {
  branch(f, [&](const kernels::AttentionShape& shape) {
    kernels::attention({shape, f.saves[qkv], f.saves[attended], f.saves[lse], f.scratch}, f.stream);
  });
}

std::optional<ExtendNeeds> Gpt2Attention::extend_needs(const ExtendShape& shape) const {
  return cached_needs(attention_shape(config_, shape.rows), shape);
}

void Gpt2Attention::extend(const Extend& e) {
  branch(e.rows, [&](const kernels::AttentionShape& shape) {
    attend_cached(e, shape, e.rows.saves[qkv], e.rows.saves[attended]);
  });
}

void Gpt2Attention::backward(const Backward& b) {
  const auto& [p, s] = std::pair(b.params, b.saves);
  Carver scratch(b.scratch);
  const View d_qkv = scratch.take(s[qkv].shape, s[qkv].type);
  const View tool = scratch.rest();
  if (b.lost[ln]) rebuild({b.in, p[ln_gamma], p[ln_beta], s[ln], config_.eps}, tool, b.stream);

  View d_proj = b.d_out;
  if (config_.dropout > 0) {  // needed only before d_qkv is, so it lives there
    d_proj = View{d_qkv.data, b.d_out.shape, b.d_out.type};
    kernels::dropout({b.d_out, {}, d_proj, config_.dropout, substream(b.rng, 1)}, b.stream);
  }
  const View d_branch = b.d_in;  // the branch's gradient at two places in turn, then the block's
  linear_backward({s[attended], p[proj_weight], d_proj, d_branch, b.grads[proj_weight],
                   b.grads[proj_bias], tool},
                  b.stream);
  proj_.backward(d_proj, s[attended], d_branch, b, tool);
  kernels::attention_backward({attention_shape(config_, b.batch.inputs.shape), s[qkv], s[attended],
                               s[lse], d_branch, d_qkv, tool},
                              b.stream);
  linear_backward(
      {s[ln], p[qkv_weight], d_qkv, d_branch, b.grads[qkv_weight], b.grads[qkv_bias], tool},
      b.stream);
  qkv_.backward(d_qkv, s[ln], d_branch, b, tool);
  kernels::layer_norm_backward({b.in, d_branch, p[ln_gamma], s[mean], s[rstd], b.d_out, b.d_in,
                                b.grads[ln_gamma], b.grads[ln_beta], tool},
                               b.stream);
}

}  // namespace sherd::model
