#include <algorithm>

#include "model/carver.hpp"
#include "model/init.hpp"
#include "model/llama_blocks.hpp"
#include "model/rebuild.hpp"
#include "sherd/kernels/elementwise.hpp"
#include "sherd/kernels/norm_rms.hpp"
#include "sherd/kernels/swiglu.hpp"
#include "sherd/model/linear.hpp"

namespace sherd::model {
namespace {

enum Params : std::size_t { norm_gain, gate_up_weight, down_weight };
enum Saves : std::size_t { rstd, normed, gate_up, activated };

}  // namespace

LlamaMlp::LlamaMlp(const LlamaConfig& c)
    : config_(c),
      gate_up_(c.lora, c.width,
               {{"gate_proj", 0, c.ffn_width}, {"up_proj", c.ffn_width, c.ffn_width}},
               {down_weight + 1, activated + 1}),
      down_(c.lora, c.ffn_width, {{"down_proj", 0, c.width}}, gate_up_.end()) {}

void LlamaMlp::declare(Declare& d) const {
  const std::int64_t n = d.rows().numel(), width = config_.width, ffn = config_.ffn_width;
  const Target target = d.target();
  d.input({n, width});
  d.output({n, width});
  d.param("norm_gain", {1, width}, init_one);
  d.param("gate_up_weight", {width, 2 * ffn}, init_weight);
  d.param("down_weight", {ffn, width}, init_residual(config_.layers));
  d.save("rstd", {n, 1}, DType::f32);
  d.save("norm", {n, width}, target.compute, Keep::cheap);
  d.save("gate_up", {n, 2 * ffn}, target.compute);
  d.save("activated", {n, ffn}, target.compute, Keep::cheap);
  gate_up_.declare(d, n);
  down_.declare(d, n);
  d.save_input();

  const Bytes products = std::max({linear_scratch({n, width, 2 * ffn}, target),
                                   linear_scratch({n, ffn, width}, target),
                                   gate_up_.scratch(n, target), down_.scratch(n, target)});
  Carver backward;
  backward.take({n, ffn}, target.compute);
  backward.take({n, 2 * ffn}, target.compute);
  backward.take(std::max(
      {products, kernels::rms_norm_backward_scratch(n, width, target), rebuild_rms_scratch(n)}));
  d.scratch(products, backward.used());
}

void LlamaMlp::forward(const Forward& f) {
  const auto& [p, s] = std::pair(f.params, f.saves);
  kernels::rms_norm({f.in, p[norm_gain], s[normed], s[rstd], config_.eps}, f.stream);
  linear({s[normed], p[gate_up_weight], {}, s[gate_up], f.scratch}, f.stream);
  gate_up_.add_to(s[gate_up], s[normed], f);
  kernels::swiglu(s[gate_up], s[activated], f.stream);
  linear({s[activated], p[down_weight], {}, f.out, f.scratch}, f.stream);
  down_.add_to(f.out, s[activated], f);
  kernels::add(f.in, f.out, f.out, f.stream);
}

void LlamaMlp::backward(const Backward& b) {
  const auto& [p, s] = std::pair(b.params, b.saves);
  Carver scratch(b.scratch);
  const View d_activated = scratch.take(s[activated].shape, s[activated].type);
  const View d_gate_up = scratch.take(s[gate_up].shape, s[gate_up].type);
  const View tool = scratch.rest();
  if (b.lost[normed])
    rebuild(RebuildRms{b.in, p[norm_gain], s[normed], config_.eps}, tool, b.stream);
  if (b.lost[activated]) kernels::swiglu(s[gate_up], s[activated], b.stream);

  linear_backward(
      {s[activated], p[down_weight], b.d_out, d_activated, b.grads[down_weight], {}, tool},
      b.stream);
  down_.backward(b.d_out, s[activated], d_activated, b, tool);
  kernels::swiglu_backward(s[gate_up], d_activated, d_gate_up, b.stream);
  linear_backward(
      {s[normed], p[gate_up_weight], d_gate_up, b.d_in, b.grads[gate_up_weight], {}, tool},
      b.stream);
  gate_up_.backward(d_gate_up, s[normed], b.d_in, b, tool);
  kernels::rms_norm_backward(
      {b.in, b.d_in, p[norm_gain], s[rstd], b.d_out, b.d_in, b.grads[norm_gain], tool}, b.stream);
}

}  // namespace sherd::model
