#include "sherd/model/language_head.hpp"

#include <algorithm>

#include "model/carver.hpp"
#include "model/init.hpp"
#include "model/norm.hpp"
#include "model/substream.hpp"
#include "sherd/kernels/cross_entropy.hpp"
#include "sherd/kernels/elementwise.hpp"
#include "sherd/kernels/matmul.hpp"
#include "sherd/model/linear.hpp"

namespace sherd::model {
namespace {

using kernels::Transpose;
using Config = LanguageHeadConfig;

/// Parameters, or their gradients, by what they are.
template <class Of>
struct Parts {
  Of gain, offset, table;  // an RMS norm has no offset
};
template <class Of>
Parts<Of> parts(const Config& c, std::span<const Of> all) {
  return c.norm == NormKind::layer ? Parts<Of>{all[0], all[1], all[2]}
                                   : Parts<Of>{all[0], {}, all[1]};
}

/// A chunk's temporaries; all of them are needed in training, those before d_gain in evaluation.
struct Chunk {
  View norm, mean, rstd;
  View logits;    // fp32
  View d_logits;  // in training: the same memory, or of the compute type where products need it
  View d_gain, d_offset;
};

// A device's products want rows on aligned addresses, and operands of one type.
std::int64_t logits_pitch(const Config& c, DeviceKind kind) {
  return kind == DeviceKind::cpu ? c.vocab_size : (c.vocab_size + 63) / 64 * 64;
}

Chunk cut(Carver& carver, const Config& c, std::int64_t rows, const Target& target) {
  Chunk k;
  k.norm = carver.take({rows, c.width}, target.compute);
  if (c.norm == NormKind::layer) k.mean = carver.take({rows, 1}, DType::f32);
  k.rstd = carver.take({rows, 1}, DType::f32);
  k.logits = carver.take({rows, c.vocab_size}, DType::f32, logits_pitch(c, target.kind));
  return k;
}

void cut_gradients(Carver& carver, const Config& c, Chunk& k, const Target& target) {
  k.d_logits = k.logits;
  if (target.kind != DeviceKind::cpu && target.compute != DType::f32)
    k.d_logits = carver.take(k.logits.shape, target.compute, logits_pitch(c, target.kind));
  k.d_gain = carver.take({1, c.width}, DType::f32);
  if (c.norm == NormKind::layer) k.d_offset = carver.take({1, c.width}, DType::f32);
}

View apart(const Chunk& k) { return k.d_logits.data == k.logits.data ? View{} : k.d_logits; }

void unembed(View in, View table, View out, View tool, StreamRef stream) {
  kernels::matmul({.a = in, .b = table, .transpose_b = Transpose::yes, .out = out, .scratch = tool},
                  stream);
}

/// Gradients of the chunk at row `first`. Those of the norm
/// are summed in fp32 so that a 16-bit gradient is rounded once.
void chunk_backward(const Config& c, const LossCall& call, const Chunk& k, std::int64_t first,
                    View tool) {
  const std::int64_t count = k.d_logits.shape.rows;
  const Write later = first == 0 ? Write::set : Write::add;
  const Parts<View> params = parts(c, call.params);
  Grad table = parts(c, call.grads).table;
  if (first > 0) table.mode = Write::add;
  table.round = substream(table.round, static_cast<std::uint64_t>(first));  // no chunk shares bits
  weight_gradient({k.d_logits, k.norm, table, tool}, call.stream);
  const View d_in = call.d_in.rows(first, count);
  kernels::matmul({.a = k.d_logits, .b = params.table, .out = d_in, .scratch = tool}, call.stream);
  norm_backward({call.in.rows(first, count),
                 d_in,
                 params.gain,
                 k.mean,
                 k.rstd,
                 {},
                 d_in,
                 {k.d_gain, later, {}},
                 {k.d_offset, later, {}},
                 tool},
                call.stream);
}

}  // namespace

std::int64_t head_chunk_rows(std::int64_t vocab_size, DeviceKind kind) {
  const bool cpu =
      kind == DeviceKind::cpu;  // a device has memory for 1 GiB, and wants tall products
  const std::int64_t floats = std::int64_t{1} << (cpu ? 24 : 28);
  return std::clamp<std::int64_t>(floats / vocab_size / 64 * 64, 64, cpu ? 1024 : 32768);
}

void LanguageHead::declare(Declare& d) const {
  const Config& c = config_;
  const std::int64_t n = d.rows().numel(),
                     rows = std::min(n, head_chunk_rows(c.vocab_size, d.target().kind));
  const Target target = d.target();
  d.input({n, c.width});
  if (c.norm == NormKind::layer) {
    d.param("ln_gamma", {1, c.width}, init_one);
    d.param("ln_beta", {1, c.width}, init_zero);
  } else {
    d.param("norm_gain", {1, c.width}, init_one);
  }
  if (c.tied_to.empty()) {
    d.param("lm_head", {c.vocab_size, c.width}, init_weight);
  } else {
    d.tied("embed", c.tied_to);
  }
  const Bytes product = product_scratch(rows, c.vocab_size, c.width, target);
  Carver evaluation, training;
  cut(evaluation, c, rows, target);
  evaluation.take(product);
  Chunk k = cut(training, c, rows, target);
  cut_gradients(training, c, k, target);
  training.take(std::max({product, product_scratch(c.vocab_size, c.width, rows, target),
                          product_scratch(rows, c.width, c.vocab_size, target),
                          norm_backward_scratch(c.norm, {rows, c.width}, target)}));
  d.scratch(evaluation.used(), training.used());
}

void LanguageHead::loss(const LossCall& call) {
  const Target target{.kind = call.stream.kind(), .compute = call.in.type};
  const std::int64_t n = call.in.shape.rows,
                     most = head_chunk_rows(config_.vocab_size, target.kind);
  const bool training = call.scale != nullptr;
  const View labels = call.batch.labels.reshaped({n, 1});
  const Parts<View> params = parts(config_, call.params);
  Carver carver(call.scratch);
  const Chunk whole = [&] {
    Chunk k = cut(carver, config_, std::min(n, most), target);
    if (training) cut_gradients(carver, config_, k, target);
    return k;
  }();
  for (std::int64_t first = 0; first < n; first += most) {
    const std::int64_t count = std::min(most, n - first);
    Chunk k = whole;
    for (View* view : {&k.norm, &k.mean, &k.rstd, &k.logits, &k.d_logits}) view->shape.rows = count;
    norm({call.in.rows(first, count), params.gain, params.offset, k.norm, k.mean, k.rstd,
          config_.eps},
         call.stream);
    unembed(k.norm, params.table, k.logits, carver.rest(), call.stream);
    kernels::cross_entropy(
        {k.logits, labels.rows(first, count), call.scale, call.nominal_tokens, call.sums, apart(k)},
        call.stream);
    if (training) chunk_backward(config_, call, k, first, carver.rest());
  }
  if (!training) return;
  const Parts<Grad> grads = parts(config_, call.grads);
  if (grads.gain.to) kernels::accumulate(whole.d_gain, grads.gain, call.stream);
  if (grads.offset.to) kernels::accumulate(whole.d_offset, grads.offset, call.stream);
}

void LanguageHead::logits(const Forward& f) {
  const Target target{.kind = f.stream.kind(), .compute = f.in.type};
  const std::int64_t n = f.out.shape.rows, most = head_chunk_rows(config_.vocab_size, target.kind);
  const Parts<View> params = parts(config_, f.params);
  Carver carver(f.scratch);
  const Chunk whole = cut(carver, config_, std::min(n, most), target);
  for (std::int64_t first = 0; first < n; first += most) {
    const std::int64_t count = std::min(most, n - first);
    Chunk k = whole;
    for (View* view : {&k.norm, &k.mean, &k.rstd}) view->shape.rows = count;
    norm({f.in.rows(first, count), params.gain, params.offset, k.norm, k.mean, k.rstd, config_.eps},
         f.stream);
    unembed(k.norm, params.table, f.out.rows(first, count), carver.rest(), f.stream);
  }
}

}  // namespace sherd::model
