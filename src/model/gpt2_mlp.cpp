#include <algorithm>

#include "model/carver.hpp"
#include "model/gpt2_blocks.hpp"
#include "model/rebuild.hpp"
#include "model/substream.hpp"
#include "sherd/kernels/elementwise.hpp"
#include "sherd/kernels/norm_layer.hpp"
#include "sherd/model/linear.hpp"

namespace sherd::model {
namespace {

enum Params : std::size_t { ln_gamma, ln_beta, fc_weight, fc_bias, proj_weight, proj_bias };
enum Saves : std::size_t { mean, rstd, ln, fc, activated };

}  // namespace

Gpt2Mlp::Gpt2Mlp(const Gpt2Config& c)
    : config_(c),
      fc_(c.lora, c.width, {{"c_fc", 0, c.ffn_width}}, {proj_bias + 1, activated + 1}),
      proj_(c.lora, c.ffn_width, {{"c_proj", 0, c.width}}, fc_.end()) {}

void Gpt2Mlp::declare(Declare& d) const {
  const std::int64_t n = d.rows().numel(), width = config_.width, ffn = config_.ffn_width;
  const Target target = d.target();
  d.input({n, width});
  d.output({n, width});
  const ParamId gamma = d.param("ln_gamma", {1, width}, init_one);
  const ParamId beta = d.param("ln_beta", {1, width}, init_zero);
  const ParamId fc_w = d.param("fc_weight", {width, ffn}, init_weight);
  d.param("fc_bias", {1, ffn}, init_zero);
  const ParamId proj_w = d.param("proj_weight", {ffn, width}, init_residual(config_.layers));
  d.param("proj_bias", {1, width}, init_zero);
  d.backward_reads({gamma, beta, fc_w, proj_w});  // beta: to rebuild a lost norm
  d.save("mean", {n, 1}, DType::f32);
  d.save("rstd", {n, 1}, DType::f32);
  d.save("ln", {n, width}, target.compute, Keep::cheap);
  d.save("fc", {n, ffn}, target.compute);
  d.save("activated", {n, ffn}, target.compute, Keep::cheap);
  fc_.declare(d, n);
  proj_.declare(d, n);
  d.save_input();
  if (config_.dropout > 0) d.random();

  const Bytes products =
      std::max({linear_scratch({n, width, ffn}, target), linear_scratch({n, ffn, width}, target),
                fc_.scratch(n, target), proj_.scratch(n, target)});
  Carver backward;
  backward.take({n, ffn}, target.compute);
  backward.take(std::max(
      {products, kernels::layer_norm_backward_scratch(n, width, target), rebuild_scratch(n)}));
  d.scratch(products, backward.used());
}

void Gpt2Mlp::forward(const Forward& f) {
  const auto& [p, s] = std::pair(f.params, f.saves);
  kernels::layer_norm({f.in, p[ln_gamma], p[ln_beta], s[ln], s[mean], s[rstd], config_.eps},
                      f.stream);
  if (fc_.any()) {  // the adapters' part comes before the GELU
    linear({s[ln], p[fc_weight], p[fc_bias], s[fc], f.scratch}, f.stream);
    fc_.add_to(s[fc], s[ln], f);
    kernels::gelu(s[fc], s[activated], f.stream);
  } else {
    linear({s[ln], p[fc_weight], p[fc_bias], s[activated], f.scratch, s[fc]}, f.stream);
  }
  linear({s[activated], p[proj_weight], p[proj_bias], f.out, f.scratch}, f.stream);
  proj_.add_to(f.out, s[activated], f);
  const float drop = f.training ? config_.dropout : 0;
  kernels::dropout({f.out, f.in, f.out, drop, substream(f.rng, 1)}, f.stream);
}

void Gpt2Mlp::backward(const Backward& b) {
  const auto& [p, s] = std::pair(b.params, b.saves);
  Carver scratch(b.scratch);
  const View d_hidden = scratch.take(s[fc].shape, s[fc].type);
  const View tool = scratch.rest();
  if (b.lost[ln]) rebuild({b.in, p[ln_gamma], p[ln_beta], s[ln], config_.eps}, tool, b.stream);
  if (b.lost[activated]) kernels::gelu(s[fc], s[activated], b.stream);

  View d_proj = b.d_out;
  if (config_.dropout > 0) {  // needed only before d_in is, so it lives there
    d_proj = b.d_in;
    kernels::dropout({b.d_out, {}, d_proj, config_.dropout, substream(b.rng, 1)}, b.stream);
  }
  // The adapters' part joins before the GELU's gradient is taken.
  linear_backward({s[activated], p[proj_weight], d_proj, d_hidden, b.grads[proj_weight],
                   b.grads[proj_bias], tool, proj_.any() ? View{} : s[fc]},
                  b.stream);
  if (proj_.any()) {
    proj_.backward(d_proj, s[activated], d_hidden, b, tool);
    kernels::gelu_backward(s[fc], d_hidden, d_hidden, b.stream);
  }
  linear_backward(
      {s[ln], p[fc_weight], d_hidden, b.d_in, b.grads[fc_weight], b.grads[fc_bias], tool},
      b.stream);
  fc_.backward(d_hidden, s[ln], b.d_in, b, tool);
  kernels::layer_norm_backward({b.in, b.d_in, p[ln_gamma], s[mean], s[rstd], b.d_out, b.d_in,
                                b.grads[ln_gamma], b.grads[ln_beta], tool},
                               b.stream);
}

}  // namespace sherd::model
