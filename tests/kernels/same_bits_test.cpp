// Equal bits for every thread count and instruction set, over all memory-bound kernels.
#include <doctest/doctest.h>
#include <hwy/targets.h>

#include "kernels/array.hpp"
#include "sherd/kernels/attention_cached.hpp"
#include "sherd/kernels/cross_entropy.hpp"
#include "sherd/kernels/elementwise.hpp"
#include "sherd/kernels/embedding.hpp"
#include "sherd/kernels/norm_layer.hpp"
#include "sherd/kernels/norm_rms.hpp"
#include "sherd/kernels/reduction.hpp"
#include "sherd/kernels/rotary.hpp"
#include "sherd/kernels/swiglu.hpp"
#include "sherd/kernels/update.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

constexpr Shape shape{97, 771};

/// What every kernel wrote, in a fixed order.
using Outputs = std::vector<std::vector<std::byte>>;

void run_elementwise(Outputs& all, DType type, StreamRef stream) {
  Array x(shape, type, noise(1, 5)), y(shape, type, noise(2)), out(shape, type);
  const Philox bits = philox(1, Purpose::dropout, {1});
  const auto keep = [&] { all.push_back(out.bytes()); };
  kernels::gelu(x.view(), out.view(), stream);
  keep();
  kernels::gelu_backward(x.view(), y.view(), out.view(), stream);
  keep();
  kernels::add(x.view(), y.view(), out.view(), stream);
  keep();
  kernels::dropout({x.view(), y.view(), out.view(), 0.2f, bits}, stream);
  keep();
  kernels::scale(out.view(), 1.7f, stream);
  keep();
  kernels::fill_normal(out.view(), 3, 0.5f, 2, bits, stream);
  keep();
  Array wide(shape, DType::f32, noise(3)), to(shape, DType::bf16, noise(4));
  kernels::cast(wide.view(), out.view(), stream);
  keep();
  kernels::cast(wide.view(), to.view(), stream, &bits);
  all.push_back(to.bytes());
  kernels::accumulate(x.view(), {to.view(), Write::add, bits}, stream);
  all.push_back(to.bytes());
}

void run_layers(Outputs& all, DType type, StreamRef stream) {
  const std::int64_t rows = shape.rows, cols = shape.cols;
  Array x(shape, type, noise(1, 5)), y(shape, type, noise(2)), out(shape, type);
  Array gamma({1, cols}, type, noise(3)), beta({1, cols}, type, noise(4));
  Array mean({rows, 1}, DType::f32), rstd({rows, 1}, DType::f32);
  kernels::layer_norm({x.view(), gamma.view(), beta.view(), out.view(), mean.view(), rstd.view()},
                      stream);
  for (const Array* a : {&out, &mean, &rstd}) all.push_back(a->bytes());
  const Philox bits = philox(1, Purpose::gradient_rounding, {1});
  Array d_gamma({1, cols}, DType::f32), d_beta({1, cols}, DType::bf16);
  Array space = scratch(kernels::layer_norm_backward_scratch(rows, cols, {}));
  kernels::layer_norm_backward({.in = x.view(),
                                .d_out = y.view(),
                                .gamma = gamma.view(),
                                .mean = mean.view(),
                                .rstd = rstd.view(),
                                .residual = x.view(),
                                .d_in = out.view(),
                                .d_gamma = {d_gamma.view()},
                                .d_beta = {d_beta.view(), Write::set, bits},
                                .scratch = space.view()},
                               stream);
  for (const Array* a : {&out, &d_gamma, &d_beta}) all.push_back(a->bytes());
  Array tokens({1, rows}, DType::i32, [](std::int64_t i) { return static_cast<double>(i % 7); });
  Array table({9, cols}, DType::bf16, noise(6));
  Array heap = scratch(kernels::embedding_backward_scratch({1, rows}, 9, cols, {}));
  kernels::embedding({tokens.view(), table.view(), y.view(), out.view()}, stream);
  all.push_back(out.bytes());
  const Grad d_table{table.view(), Write::add, bits};
  kernels::embedding_backward({tokens.view(), y.view(), d_table, {}, heap.view()}, stream);
  all.push_back(table.bytes());
}

void run_loss_and_update(Outputs& all, DType type, StreamRef stream) {
  const float one = 1;
  Array logits(shape, DType::f32, noise(1, 20));
  Array labels({shape.rows, 1}, DType::i32, [](auto i) { return static_cast<double>(i); });
  kernels::LossSum loss;
  kernels::cross_entropy({logits.view(), labels.view(), &one, 7, &loss}, stream);
  all.push_back(logits.bytes());
  const std::int64_t n = shape.numel();
  Array p({1, n}, DType::f32, noise(1)), m({1, n}, DType::f32, noise(2));
  Array v({1, n}, DType::f32, [](auto i) { return std::abs(noise(3)(i)); });
  Array g({1, n}, type == DType::f16 ? DType::f32 : type, noise(4));
  Array q({1, n}, type == DType::f32 ? DType::bf16 : type);
  kernels::UpdateScalars s;
  s.lr = 0.01f;
  s.bias1 = 0.19;
  s.bias2 = 0.002;
  kernels::UpdateArgs args{.grad = g.view(),
                           .master = p.view(),
                           .m = m.view(),
                           .v = v.view(),
                           .param = q.view(),
                           .weight_decay = 0.1f,
                           .scalars = &s};
  kernels::adamw(args, stream);
  all.push_back(v.bytes());
  args.v = {};
  kernels::lion(args, stream);
  kernels::sgd(args, stream);
  for (const Array* a : {&p, &m, &q}) all.push_back(a->bytes());
  View whole = g.view();
  whole.shape = {1, n / 256 * 256};
  kernels::NormSum norm;
  kernels::square_norm(whole, norm, stream);
  const std::byte* sources[] = {p.view().data, m.view().data, v.view().data};
  kernels::fold({.sources = sources, .out = m.view()}, stream);
  all.push_back(m.bytes());
  for (const kernels::ExactSum& sum : {loss.loss, norm.squares}) {
    const auto* from = reinterpret_cast<const std::byte*>(sum.limb.data());
    all.emplace_back(from, from + sizeof sum.limb);
  }
}

void run_llama(Outputs& all, DType type, StreamRef stream) {
  const std::int64_t rows = shape.rows, cols = shape.cols;
  Array x(shape, type, noise(1, 5)), y(shape, type, noise(2)), out(shape, type);
  Array gain({1, cols}, type, noise(3)), rstd({rows, 1}, DType::f32);
  kernels::rms_norm({x.view(), gain.view(), out.view(), rstd.view()}, stream);
  for (const Array* a : {&out, &rstd}) all.push_back(a->bytes());
  Array d_gain({1, cols}, DType::f32);
  Array space = scratch(kernels::rms_norm_backward_scratch(rows, cols, {}));
  kernels::rms_norm_backward({.in = x.view(),
                              .d_out = y.view(),
                              .gain = gain.view(),
                              .rstd = rstd.view(),
                              .residual = {},
                              .d_in = out.view(),
                              .d_gain = {d_gain.view()},
                              .scratch = space.view()},
                             stream);
  for (const Array* a : {&out, &d_gain}) all.push_back(a->bytes());
  Array pair({rows, 2 * cols}, type, noise(4, 8));
  kernels::swiglu(pair.view(), out.view(), stream);
  all.push_back(out.bytes());
  kernels::swiglu_backward(pair.view(), y.view(), pair.view(), stream);
  all.push_back(pair.bytes());
}

void run_heads(Outputs& all, DType type, StreamRef stream) {
  const kernels::AttentionShape heads{2, 150, 6, 20, 2};
  const Shape packed{heads.rows(), heads.qkv_width()};
  Array qkv(packed, type, noise(1, 2)), out(packed, type), d_out(packed, type, noise(2));
  Array gain({1, 20}, type, noise(3)), rstd({heads.rows(), 8}, DType::f32);
  Array d_q({1, 20}, DType::f32), d_k({1, 20}, DType::f32);
  Array space = scratch(kernels::rotary_backward_scratch(heads, {}));
  kernels::rotary({.shape = heads,
                   .in = qkv.view(),
                   .out = out.view(),
                   .q_gain = gain.view(),
                   .k_gain = gain.view(),
                   .rstd = rstd.view(),
                   .scratch = space.view(),
                   .first_position = 1000},
                  stream);
  for (const Array* a : {&out, &rstd}) all.push_back(a->bytes());
  kernels::rotary_backward({.shape = heads,
                            .d_out = d_out.view(),
                            .d_in = d_out.view(),
                            .in = qkv.view(),
                            .q_gain = gain.view(),
                            .k_gain = gain.view(),
                            .rstd = rstd.view(),
                            .d_q_gain = {d_q.view()},
                            .d_k_gain = {d_k.view()},
                            .scratch = space.view()},
                           stream);
  for (const Array* a : {&d_out, &d_q, &d_k}) all.push_back(a->bytes());
  const Shape cached{2 * 300, heads.kv_width()};
  Array keys(cached, type, noise(5)), values(cached, type, noise(6));
  Array seen({heads.rows(), heads.width()}, type);
  Array room = scratch(kernels::attention_cached_scratch(heads, 300, {}));
  const kernels::KeyValueCache cache{300, keys.view(), values.view()};
  kernels::cache_append({heads, out.view(), cache, 150}, stream);
  kernels::attention_cached({heads, out.view(), cache, 300, seen.view(), room.view()}, stream);
  for (const Array* a : {&keys, &values, &seen}) all.push_back(a->bytes());
}

Outputs run_everything(int threads) {
  device::Stream stream(threads);
  Outputs all;
  for (const DType type : float_types) {
    run_elementwise(all, type, stream);
    run_layers(all, type, stream);
    run_loss_and_update(all, type, stream);
    run_llama(all, type, stream);
    run_heads(all, type, stream);
  }
  return all;
}

/// Dispatch as if the machine had only these instruction sets.
void allow_targets(std::int64_t targets) {
  hwy::SetSupportedTargetsForTest(targets);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace

TEST_CASE("kernels give the same bits on one, two and three threads") {
  const Outputs one = run_everything(1);
  CHECK(run_everything(2) == one);
  CHECK(run_everything(3) == one);
}

TEST_CASE("kernels give the same bits on every instruction set this machine has") {
  const Outputs best = run_everything(1);
  for (const std::int64_t target : {HWY_SCALAR, HWY_AVX2, HWY_AVX3}) {
    if ((hwy::SupportedTargets() & target) == 0) continue;
    allow_targets(target);
    const Outputs got = run_everything(1);
    allow_targets(0);
    REQUIRE(got.size() == best.size());
    for (std::size_t i = 0; i < best.size(); ++i) {
      CHECK_MESSAGE(got[i] == best[i], hwy::TargetName(target) << " output " << i);
    }
  }
}
