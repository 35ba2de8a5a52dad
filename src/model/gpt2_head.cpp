#include <algorithm>

#include "model/carver.hpp"
#include "model/gpt2_blocks.hpp"
#include "model/substream.hpp"
#include "sherd/kernels/cross_entropy.hpp"
#include "sherd/kernels/elementwise.hpp"
#include "sherd/kernels/matmul.hpp"
#include "sherd/kernels/norm_layer.hpp"
#include "sherd/model/linear.hpp"

namespace sherd::model {
namespace {

using kernels::Transpose;

enum Params : std::size_t { ln_gamma, ln_beta, wte };

/// A chunk's temporaries; all of them are needed in training, those before d_gamma in evaluation.
struct Chunk {
  View ln, mean, rstd;
  View logits;    // fp32
  View d_logits;  // in training: the same memory, or of the compute type where products need it
  View d_gamma, d_beta;
};

// A device's products want rows on aligned addresses, and operands of one type.
std::int64_t logits_pitch(const Gpt2Config& c, DeviceKind kind) {
  return kind == DeviceKind::cpu ? c.vocab_size : (c.vocab_size + 63) / 64 * 64;
}

Chunk cut(Carver& carver, const Gpt2Config& c, std::int64_t rows, const Target& target) {
  Chunk k;
  k.ln = carver.take({rows, c.width}, target.compute);
  k.mean = carver.take({rows, 1}, DType::f32);
  k.rstd = carver.take({rows, 1}, DType::f32);
  k.logits = carver.take({rows, c.vocab_size}, DType::f32, logits_pitch(c, target.kind));
  return k;
}

void cut_gradients(Carver& carver, const Gpt2Config& c, Chunk& k, const Target& target) {
  k.d_logits = k.logits;
  if (target.kind != DeviceKind::cpu && target.compute != DType::f32)
    k.d_logits = carver.take(k.logits.shape, target.compute, logits_pitch(c, target.kind));
  k.d_gamma = carver.take({1, c.width}, DType::f32);
  k.d_beta = carver.take({1, c.width}, DType::f32);
}

View apart(const Chunk& k) { return k.d_logits.data == k.logits.data ? View{} : k.d_logits; }

void norm(const Gpt2Config& c, View in, std::span<const View> params, const Chunk& k,
          StreamRef stream) {
  kernels::layer_norm({in, params[ln_gamma], params[ln_beta], k.ln, k.mean, k.rstd, c.eps}, stream);
}

void unembed(View ln, View table, View out, View tool, StreamRef stream) {
  kernels::matmul({.a = ln, .b = table, .transpose_b = Transpose::yes, .out = out, .scratch = tool},
                  stream);
}

/// Gradients of the chunk at row `first`. d_gamma and d_beta
/// are summed in fp32 so that a 16-bit gradient is rounded once.
void chunk_backward(const LossCall& call, const Chunk& k, std::int64_t first, View tool) {
  const std::int64_t count = k.d_logits.shape.rows;
  const Write later = first == 0 ? Write::set : Write::add;
  Grad table = call.grads[wte];
  if (first > 0) table.mode = Write::add;
  table.round = substream(table.round, static_cast<std::uint64_t>(first));  // no chunk shares bits
  weight_gradient({k.d_logits, k.ln, table, tool}, call.stream);
  const View d_in = call.d_in.rows(first, count);
  kernels::matmul({.a = k.d_logits, .b = call.params[wte], .out = d_in, .scratch = tool},
                  call.stream);
  kernels::layer_norm_backward({call.in.rows(first, count),
                                d_in,
                                call.params[ln_gamma],
                                k.mean,
                                k.rstd,
                                {},
                                d_in,
                                {k.d_gamma, later, {}},
                                {k.d_beta, later, {}},
                                tool},
                               call.stream);
}

}  // namespace

void Gpt2Head::declare(Declare& d) const {
  const Gpt2Config& c = config_;
  const std::int64_t n = d.rows().numel(),
                     rows = std::min(n, head_chunk_rows(c.vocab_size, d.target().kind));
  const Target target = d.target();
  d.input({n, c.width});
  d.param("ln_gamma", {1, c.width}, init_one);
  d.param("ln_beta", {1, c.width}, init_zero);
  d.tied("embed", "wte");
  const Bytes product = product_scratch(rows, c.vocab_size, c.width, target);
  Carver evaluation, training;
  cut(evaluation, c, rows, target);
  evaluation.take(product);
  Chunk k = cut(training, c, rows, target);
  cut_gradients(training, c, k, target);
  training.take(std::max({product, product_scratch(c.vocab_size, c.width, rows, target),
                          product_scratch(rows, c.width, c.vocab_size, target),
                          kernels::layer_norm_backward_scratch(rows, c.width, target)}));
  d.scratch(evaluation.used(), training.used());
}

void Gpt2Head::loss(const LossCall& call) {
  const Target target{.kind = call.stream.kind(), .compute = call.in.type};
  const std::int64_t n = call.in.shape.rows,
                     most = head_chunk_rows(config_.vocab_size, target.kind);
  const bool training = call.scale != nullptr;
  const View labels = call.batch.labels.reshaped({n, 1});
  Carver carver(call.scratch);
  const Chunk whole = [&] {
    Chunk k = cut(carver, config_, std::min(n, most), target);
    if (training) cut_gradients(carver, config_, k, target);
    return k;
  }();
  for (std::int64_t first = 0; first < n; first += most) {
    const std::int64_t count = std::min(most, n - first);
    Chunk k = whole;
    for (View* view : {&k.ln, &k.mean, &k.rstd, &k.logits, &k.d_logits}) view->shape.rows = count;
    norm(config_, call.in.rows(first, count), call.params, k, call.stream);
    unembed(k.ln, call.params[wte], k.logits, carver.rest(), call.stream);
    kernels::cross_entropy(
        {k.logits, labels.rows(first, count), call.scale, call.nominal_tokens, call.sums, apart(k)},
        call.stream);
    if (training) chunk_backward(call, k, first, carver.rest());
  }
  if (!training) return;
  kernels::accumulate(whole.d_gamma, call.grads[ln_gamma], call.stream);
  kernels::accumulate(whole.d_beta, call.grads[ln_beta], call.stream);
}

void Gpt2Head::logits(const Forward& f) {
  const Target target{.kind = f.stream.kind(), .compute = f.in.type};
  const std::int64_t n = f.out.shape.rows, most = head_chunk_rows(config_.vocab_size, target.kind);
  Carver carver(f.scratch);
  const Chunk whole = cut(carver, config_, std::min(n, most), target);
  for (std::int64_t first = 0; first < n; first += most) {
    const std::int64_t count = std::min(most, n - first);
    Chunk k = whole;
    for (View* view : {&k.ln, &k.mean, &k.rstd}) view->shape.rows = count;
    norm(config_, f.in.rows(first, count), f.params, k, f.stream);
    unembed(k.ln, f.params[wte], f.out.rows(first, count), carver.rest(), f.stream);
  }
}

}  // namespace sherd::model
