#include <algorithm>

#include "model/carver.hpp"
#include "model/init.hpp"
#include "model/key_value_cache.hpp"
#include "model/llama_blocks.hpp"
#include "model/rebuild.hpp"
#include "sherd/kernels/attention.hpp"
#include "sherd/kernels/elementwise.hpp"
#include "sherd/kernels/norm_rms.hpp"
#include "sherd/model/linear.hpp"

namespace sherd::model {
namespace {

enum Params : std::size_t { norm_gain, qkv_weight, proj_weight, qkv_bias, q_gain = 3, k_gain };
// q and k of `qkv` are turned already, but for those that are normalised: their norm's backward
// reads what they were, and `turned` is beside it.
enum Saves : std::size_t { rstd, normed, qkv, attended, lse, head_rstd, turned };

kernels::AttentionShape attention_shape(const LlamaConfig& c, Shape rows) {
  return {rows.rows, rows.cols, c.heads, c.head_dim, c.kv_heads};
}

Bytes linears(const LlamaConfig& c, std::int64_t rows, const Target& target) {
  return std::max(linear_scratch({rows, c.width, c.attention_width() + 2 * c.kv_width()}, target),
                  linear_scratch({rows, c.attention_width(), c.width}, target));
}

Shape head_rstd_shape(const LlamaConfig& c, std::int64_t rows) {
  return {rows, c.heads + c.kv_heads};
}

Bytes rebuild_bytes(const LlamaConfig& c, const kernels::AttentionShape& shape,
                    const Target& target) {
  Carver turn;
  turn.take(head_rstd_shape(c, shape.rows()), DType::f32);
  turn.take(kernels::rotary_scratch(shape, target));
  return std::max(rebuild_rms_scratch(shape.rows()), turn.used());
}

struct Turn {
  View in, out, head_rstd, scratch;
  std::int64_t first_position = 0;
};
void turn(const LlamaConfig& c, Shape rows, std::span<const View> params, const Turn& t,
          StreamRef stream) {
  const bool norm = c.kind == LlamaKind::qwen3;
  kernels::rotary({.shape = attention_shape(c, rows),
                   .in = t.in,
                   .out = t.out,
                   .q_gain = norm ? params[q_gain] : View{},
                   .k_gain = norm ? params[k_gain] : View{},
                   .rstd = t.head_rstd,
                   .eps = c.eps,
                   .rotary = c.rotary,
                   .scratch = t.scratch,
                   .first_position = t.first_position},
                  stream);
}

// Parameters and saves of the block before its adapters'.
Adapters::Start own_of(const LlamaConfig& c) {
  if (c.kind == LlamaKind::qwen3) return {k_gain + 1, turned + 1};
  return {c.kind == LlamaKind::qwen2 ? std::size_t{qkv_bias} + 1 : std::size_t{proj_weight} + 1,
          lse + 1};
}

}  // namespace

LlamaAttention::LlamaAttention(const LlamaConfig& c)
    : config_(c),
      qkv_(c.lora, c.width,
           {{"q_proj", 0, c.attention_width()},
            {"k_proj", c.attention_width(), c.kv_width()},
            {"v_proj", c.attention_width() + c.kv_width(), c.kv_width()}},
           own_of(c)),
      proj_(c.lora, c.attention_width(), {{"o_proj", 0, c.width}}, qkv_.end()) {}

void LlamaAttention::declare(Declare& d) const {
  const LlamaConfig& c = config_;
  const std::int64_t n = d.rows().numel(), width = c.width;
  const kernels::AttentionShape shape = attention_shape(c, d.rows());
  const Target target = d.target();
  d.input({n, width});
  d.output({n, width});
  const ParamId gain = d.param("norm_gain", {1, width}, init_one);
  const ParamId qkv_w = d.param("qkv_weight", {width, shape.qkv_width()}, init_weight);
  const ParamId proj = d.param("proj_weight", {shape.width(), width}, init_residual(c.layers));
  if (c.kind == LlamaKind::qwen2) {
    d.param("qkv_bias", {1, shape.qkv_width()}, init_zero);
    d.backward_reads({gain, qkv_w, proj});
  } else if (c.kind == LlamaKind::qwen3) {
    d.param("q_gain", {1, c.head_dim}, init_one);
    d.param("k_gain", {1, c.head_dim}, init_one);
  }
  d.save("rstd", {n, 1}, DType::f32);
  d.save("norm", {n, width}, target.compute, Keep::cheap);
  d.save("qkv", {n, shape.qkv_width()}, target.compute);
  d.save("attended", {n, shape.width()}, target.compute);
  d.save("lse", {d.rows().rows * c.heads, d.rows().cols}, DType::f32);
  if (c.kind == LlamaKind::qwen3) {
    d.save("head_rstd", head_rstd_shape(c, n), DType::f32);
    d.save("turned", {n, shape.qkv_width()}, target.compute, Keep::cheap);
  }
  qkv_.declare(d, n);
  proj_.declare(d, n);
  d.save_input();

  const Bytes products =
      std::max({linears(c, n, target), qkv_.scratch(n, target), proj_.scratch(n, target)});
  Carver backward;
  backward.take({n, shape.qkv_width()}, target.compute);
  if (shape.width() > width) backward.take({n, shape.width()}, target.compute);
  backward.take(std::max({products, kernels::attention_backward_scratch(shape, target),
                          kernels::rotary_backward_scratch(shape, target),
                          kernels::rms_norm_backward_scratch(n, width, target),
                          rebuild_bytes(c, shape, target)}));
  d.scratch(std::max({products, kernels::attention_scratch(shape, target),
                      kernels::rotary_scratch(shape, target)}),
            backward.used());
}

template <class Attend>
void LlamaAttention::branch(const Forward& f, Attend attend) const {
  const auto& [p, s] = std::pair(f.params, f.saves);
  const View bias = config_.kind == LlamaKind::qwen2 ? p[qkv_bias] : View{};
  kernels::rms_norm({f.in, p[norm_gain], s[normed], s[rstd], config_.eps}, f.stream);
  linear({s[normed], p[qkv_weight], bias, s[qkv], f.scratch}, f.stream);
  qkv_.add_to(s[qkv], s[normed], f);
  attend(attention_shape(config_, f.batch.inputs.shape));
  linear({s[attended], p[proj_weight], {}, f.out, f.scratch}, f.stream);
  proj_.add_to(f.out, s[attended], f);
  kernels::add(f.in, f.out, f.out, f.stream);
}

void LlamaAttention::forward(const Forward& f) {
  const std::span<const View> s = f.saves;
  const bool norm = config_.kind == LlamaKind::qwen3;
  const View from = norm ? s[turned] : s[qkv];
  branch(f, [&](const kernels::AttentionShape& shape) {
    turn(config_, f.batch.inputs.shape, f.params,
         {s[qkv], from, norm ? s[head_rstd] : View{}, f.scratch}, f.stream);
    kernels::attention({shape, from, s[attended], s[lse], f.scratch}, f.stream);
  });
}

std::optional<ExtendNeeds> LlamaAttention::extend_needs(const ExtendShape& shape) const {
  return cached_needs(attention_shape(config_, shape.rows), shape);
}

void LlamaAttention::extend(const Extend& e) {
  const Forward& f = e.rows;
  const std::span<const View> s = f.saves;
  const View rstds = config_.kind == LlamaKind::qwen3 ? s[head_rstd] : View{};
  branch(f, [&](const kernels::AttentionShape& shape) {
    turn(config_, f.batch.inputs.shape, f.params,
         {s[qkv], s[qkv], rstds, f.scratch, e.first_position}, f.stream);
    attend_cached(e, shape, s[qkv], s[attended]);
  });
}

void LlamaAttention::backward(const Backward& b) {
  const auto& [p, s] = std::pair(b.params, b.saves);
  const Shape rows = b.batch.inputs.shape;
  const kernels::AttentionShape shape = attention_shape(config_, rows);
  const bool norm = config_.kind == LlamaKind::qwen3;
  const View from = norm ? s[turned] : s[qkv];
  Carver scratch(b.scratch);
  const View d_qkv = scratch.take(s[qkv].shape, s[qkv].type);
  // Needed only before d_in is, so it lives there if it fits.
  const View d_attended = shape.width() > config_.width
                              ? scratch.take(s[attended].shape, s[attended].type)
                              : View{b.d_in.data, s[attended].shape, s[attended].type};
  const View tool = scratch.rest();
  if (b.lost[normed])
    rebuild(RebuildRms{b.in, p[norm_gain], s[normed], config_.eps}, tool, b.stream);
  if (norm && b.lost[turned]) {
    Carver carver(tool);
    const View head = carver.take(s[head_rstd].shape, DType::f32);
    turn(config_, rows, p, {s[qkv], s[turned], head, carver.rest()}, b.stream);
  }

  linear_backward(
      {s[attended], p[proj_weight], b.d_out, d_attended, b.grads[proj_weight], {}, tool}, b.stream);
  proj_.backward(b.d_out, s[attended], d_attended, b, tool);
  kernels::attention_backward({shape, from, s[attended], s[lse], d_attended, d_qkv, tool},
                              b.stream);
  kernels::RotaryBackwardArgs turned_back{
      .shape = shape, .d_out = d_qkv, .d_in = d_qkv, .rotary = config_.rotary, .scratch = tool};
  if (norm) {
    turned_back.in = s[qkv];
    turned_back.q_gain = p[q_gain];
    turned_back.k_gain = p[k_gain];
    turned_back.rstd = s[head_rstd];
    turned_back.d_q_gain = b.grads[q_gain];
    turned_back.d_k_gain = b.grads[k_gain];
  }
  kernels::rotary_backward(turned_back, b.stream);
  linear_backward({s[normed], p[qkv_weight], d_qkv, b.d_in, b.grads[qkv_weight],
                   config_.kind == LlamaKind::qwen2 ? b.grads[qkv_bias] : Grad{}, tool},
                  b.stream);
  qkv_.backward(d_qkv, s[normed], b.d_in, b, tool);
  kernels::rms_norm_backward(
      {b.in, b.d_in, p[norm_gain], s[rstd], b.d_out, b.d_in, b.grads[norm_gain], tool}, b.stream);
}

}  // namespace sherd::model
