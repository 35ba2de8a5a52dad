// Sums over the rows of a batch, at the sizes of GPT-2 124M. Those of a lookup have the CPU's
// order, those of a bias another one.
#include <set>

#include "bench/buffers.hpp"
#include "bench/device_rig.hpp"
#include "sherd/kernels/device_scratch.hpp"
#include "sherd/kernels/embedding.hpp"
#include "sherd/kernels/matmul.hpp"

namespace sherd::bench {
namespace {

constexpr DType half = DType::bf16;
constexpr std::int64_t width = 768, inner = 4 * width, context = 1024;

double area(std::int64_t rows, std::int64_t cols) {
  return static_cast<double>(rows) * static_cast<double>(cols);
}

Launch bias_gradient(Place& place, std::int64_t rows) {
  const kernels::BiasGradientArgs args{
      .d_out = place.noise({rows, inner}, half),
      .to = {.to = place.result(place.room({1, inner}, DType::f32), 1e-5)},
      .scratch =
          place.scratch(kernels::bias_gradient_scratch(inner, {.kind = place.stream().kind()}))};
  const double parts = 8 * area(kernels::device_scratch::column_parts, inner);
  return {[=, at = place.stream()] { kernels::bias_gradient(args, at); },
          2 * area(rows, inner) + parts};
}

// Named rows of the table, which is added to as in training, are read and written once.
Launch embedding_backward(Place& place, std::int64_t rows) {
  const std::int64_t length = std::min(rows, context);
  const std::int64_t vocabulary = rows > context ? 50257 : 1999;  // few words come often
  const Shape tokens{rows / length, length};
  const Target target{.kind = place.stream().kind()};
  const kernels::EmbeddingBackwardArgs args{
      .tokens = place.tokens(tokens, vocabulary),
      .d_out = place.noise({rows, width}, half),
      .d_table = {.to = place.result(place.noise({vocabulary, width}, DType::f32)),
                  .mode = Write::add},
      .d_positions = {.to = place.result(place.noise({context, width}, DType::f32)),
                      .mode = Write::add},
      .scratch =
          place.scratch(kernels::embedding_backward_scratch(tokens, vocabulary, width, target))};
  std::vector<std::int32_t> named(static_cast<std::size_t>(rows));
  const auto raw = std::as_writable_bytes(std::span(named));
  device::copy(raw, args.tokens.raw(), place.stream());
  device::block(place.stream(), AbortWord{});
  const auto distinct =
      static_cast<std::int64_t>(std::set<std::int32_t>(named.begin(), named.end()).size());
  return {[=, at = place.stream()] { kernels::embedding_backward(args, at); },
          2 * area(rows, width) + 8 * area(distinct + length, width) + 60 * area(rows, 1)};
}

struct Kind {
  const char* name;
  Launch (*build)(Place& place, std::int64_t rows);
  std::int64_t cols, small;
};
constexpr Kind kinds[] = {{"device.bias_gradient", bias_gradient, inner, 70},
                          {"device.embedding_backward", embedding_backward, width, 1024}};

}  // namespace

std::vector<Row> device_gradients(DeviceRig& rig) {
  const std::int64_t rows = rig.options().quick ? 256 : 32 * 1024;
  std::vector<Row> all;
  for (const Kind& kind : kinds) {
    all.push_back(rig.against_copy({.name = kind.name,
                                    .size = rows,
                                    .small = kind.small,
                                    .build = kind.build,
                                    .extra = {{"rows", rows}, {"cols", kind.cols}}}));
  }
  return all;
}

}  // namespace sherd::bench
