// Kernels that go row by row, at the sizes of GPT-2 124M, Llama 3.2 1B and Qwen3 0.6B. Sums along a
// row have the device's own order, so results of layer norm and of the loss may round the other
// way.
#include "bench/buffers.hpp"
#include "bench/device_rig.hpp"
#include "sherd/kernels/cross_entropy.hpp"
#include "sherd/kernels/elementwise.hpp"
#include "sherd/kernels/embedding.hpp"
#include "sherd/kernels/interface.hpp"
#include "sherd/kernels/norm_layer.hpp"
#include "sherd/kernels/norm_rms.hpp"
#include "sherd/kernels/rotary.hpp"

namespace sherd::bench {
namespace {

constexpr DType half = DType::bf16;
constexpr double one_step = 1.0 / 128;  // of bf16
constexpr std::int64_t width = 768, vocabulary = 50257, context = 1024;
constexpr std::int64_t llama_width = 2048, qwen_heads = 4096;  // of 1B, of 0.6B

double area(std::int64_t rows, std::int64_t cols) {
  return static_cast<double>(rows) * static_cast<double>(cols);
}

kernels::LayerNormArgs norm_of(Place& place, std::int64_t rows) {
  const Shape shape{rows, width}, column{rows, 1};
  return {.in = place.noise(shape, half, 2),
          .gamma = place.noise({1, width}, half),
          .beta = place.noise({1, width}, half),
          .out = place.room(shape, half),
          .mean = place.room(column, DType::f32),
          .rstd = place.room(column, DType::f32)};
}

Launch layer_norm(Place& place, std::int64_t rows) {
  const kernels::LayerNormArgs args = norm_of(place, rows);
  place.result(args.out, one_step);
  place.result(args.mean, 1e-5);
  place.result(args.rstd, 1e-5);
  return {[=, at = place.stream()] { kernels::layer_norm(args, at); }, 4 * area(rows, width)};
}

Launch layer_norm_backward(Place& place, std::int64_t rows) {
  const kernels::LayerNormArgs forward = norm_of(place, rows);
  kernels::layer_norm(forward, place.stream());
  const Shape shape{rows, width};
  kernels::LayerNormBackwardArgs args{.in = forward.in,
                                      .d_out = place.noise(shape, half),
                                      .gamma = forward.gamma,
                                      .mean = forward.mean,
                                      .rstd = forward.rstd,
                                      .residual = place.noise(shape, half),
                                      .d_in = place.result(place.room(shape, half), one_step),
                                      .d_gamma = {.to = place.room({1, width}, DType::f32)},
                                      .d_beta = {.to = place.room({1, width}, DType::f32)},
                                      .scratch = {}};
  place.result(args.d_gamma.to, 1e-5 * static_cast<double>(rows));
  place.result(args.d_beta.to, 1e-5 * static_cast<double>(rows));
  args.scratch = place.scratch(
      kernels::layer_norm_backward_scratch(rows, width, {.kind = place.stream().kind()}));
  return {[=, at = place.stream()] { kernels::layer_norm_backward(args, at); },
          8 * area(rows, width)};
}

kernels::RmsNormArgs rms_of(Place& place, std::int64_t rows) {
  const Shape shape{rows, llama_width};
  return {.in = place.noise(shape, half, 2),
          .gain = place.noise({1, llama_width}, half),
          .out = place.room(shape, half),
          .rstd = place.room({rows, 1}, DType::f32)};
}

Launch rms_norm(Place& place, std::int64_t rows) {
  const kernels::RmsNormArgs args = rms_of(place, rows);
  place.result(args.out, one_step);
  place.result(args.rstd, 1e-5);
  return {[=, at = place.stream()] { kernels::rms_norm(args, at); }, 4 * area(rows, llama_width)};
}

Launch rms_norm_backward(Place& place, std::int64_t rows) {
  const kernels::RmsNormArgs forward = rms_of(place, rows);
  kernels::rms_norm(forward, place.stream());
  const Shape shape{rows, llama_width};
  kernels::RmsNormBackwardArgs args{.in = forward.in,
                                    .d_out = place.noise(shape, half),
                                    .gain = forward.gain,
                                    .rstd = forward.rstd,
                                    .residual = place.noise(shape, half),
                                    .d_in = place.result(place.room(shape, half), one_step),
                                    .d_gain = {.to = place.room({1, llama_width}, DType::f32)},
                                    .scratch = place.scratch(kernels::rms_norm_backward_scratch(
                                        rows, llama_width, {.kind = place.stream().kind()}))};
  place.result(args.d_gain.to, 1e-5 * static_cast<double>(rows));
  return {[=, at = place.stream()] { kernels::rms_norm_backward(args, at); },
          8 * area(rows, llama_width)};
}

// Qwen3's heads: each has its norm, then turns.
Launch rotary(Place& place, std::int64_t rows) {
  const std::int64_t length = std::min(rows, context);
  const kernels::AttentionShape shape{rows / length, length, 16, 128, 8};
  const Shape packed{rows, shape.qkv_width()};
  kernels::RotaryArgs args{.shape = shape,
                           .in = place.noise(packed, half, 2),
                           .out = place.result(place.room(packed, half), one_step)};
  args.q_gain = place.noise({1, 128}, half);
  args.k_gain = place.noise({1, 128}, half);
  args.rstd = place.room({rows, 24}, DType::f32);
  args.scratch = place.scratch(kernels::rotary_scratch(shape, kernels::target_of(place.stream())));
  return {[=, at = place.stream()] { kernels::rotary(args, at); },
          4 * area(rows, shape.qkv_width())};
}

// On a device the gradient goes beside the logits, in bf16 and rows apart, as in training.
Launch cross_entropy(Place& place, std::int64_t rows) {
  const std::int64_t pitch = (vocabulary + 63) / 64 * 64;
  const Shape shape{rows, vocabulary};
  const View out = place.result(place.room(shape, half, pitch), one_step);
  const kernels::CrossEntropyArgs args{.logits = place.noise(shape, DType::f32, 4, pitch),
                                       .labels = place.tokens({rows, 1}, vocabulary),
                                       .scale = place.keep(65536.0f),
                                       .sums = place.keep(kernels::LossSum{}),
                                       .d_logits = place.on_device() ? out : View{}};
  return {[=, at = place.stream()] {
            kernels::cross_entropy(args, at);
            if (!args.d_logits) kernels::cast(args.logits, out, at);
          },
          6 * area(rows, vocabulary)};
}

Launch embedding(Place& place, std::int64_t rows) {
  const std::int64_t length = std::min(rows, context);
  const kernels::EmbeddingArgs args{.tokens = place.tokens({rows / length, length}, vocabulary),
                                    .table = place.noise({vocabulary, width}, half),
                                    .positions = place.noise({context, width}, half),
                                    .out = place.result(place.room({rows, width}, half))};
  return {[=, at = place.stream()] { kernels::embedding(args, at); },
          4 * area(rows, width) + 2 * area(length, width)};
}

struct Kind {
  const char* name;
  Launch (*build)(Place& place, std::int64_t rows);
  std::int64_t cols, share, small;  // rows: tokens / share
};
constexpr Kind kinds[] = {{"device.layer_norm", layer_norm, width, 1, 37},
                          {"device.layer_norm_backward", layer_norm_backward, width, 1, 37},
                          {"device.rms_norm", rms_norm, llama_width, 1, 37},
                          {"device.rms_norm_backward", rms_norm_backward, llama_width, 1, 37},
                          {"device.rotary", rotary, qwen_heads, 1, 37},
                          {"device.cross_entropy", cross_entropy, vocabulary, 4, 5},
                          {"device.embedding", embedding, width, 1, 37}};

}  // namespace

std::vector<Row> device_by_rows(DeviceRig& rig) {
  const std::int64_t tokens = rig.options().quick ? 256 : 32 * 1024;
  std::vector<Row> all;
  for (const Kind& kind : kinds) {
    const std::int64_t rows = tokens / kind.share;
    all.push_back(rig.against_copy({.name = kind.name,
                                    .size = rows,
                                    .small = kind.small,
                                    .build = kind.build,
                                    .extra = {{"rows", rows}, {"cols", kind.cols}}}));
  }
  return all;
}

}  // namespace sherd::bench
