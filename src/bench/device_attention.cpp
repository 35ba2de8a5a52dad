// Causal attention at the sizes of GPT-2, Qwen2.5 0.5B and Llama 3.1 8B in bf16, against the
// fastest product of the same run. A causal score matrix is half of a whole one, and so are the
// FLOPs counted.
#include <algorithm>
#include <string_view>

#include "bench/device_rig.hpp"
#include "sherd/kernels/attention.hpp"
#include "sherd/kernels/interface.hpp"

namespace sherd::bench {
namespace {

constexpr DType half = DType::bf16;
using kernels::AttentionShape;

// Two products forward, five backward, of the lower half of [length, length] each.
double flops(const AttentionShape& s, int products) {
  const double length = static_cast<double>(s.length);
  return products * length * length * static_cast<double>(s.sequences * s.width());
}

kernels::AttentionArgs forward_of(Place& place, const AttentionShape& shape) {
  const std::int64_t rows = shape.sequences * shape.length;
  const Target target = kernels::target_of(place.stream());
  return {.shape = shape,
          .qkv = place.noise({rows, shape.qkv_width()}, half, 2),
          .out = place.room({rows, shape.width()}, half),
          .lse = place.room({shape.sequences * shape.heads, shape.length}, DType::f32),
          .scratch = place.scratch(kernels::attention_scratch(shape, target))};
}

// Probabilities are bf16 on the device: twice its rounding of values up to 2.
Launch forward(Place& place, const AttentionShape& shape) {
  const kernels::AttentionArgs args = forward_of(place, shape);
  place.result(args.out, 4.0 / 256);
  place.result(args.lse, 1e-4);
  return {[=, at = place.stream()] { kernels::attention(args, at); }, flops(shape, 2)};
}

Launch backward(Place& place, const AttentionShape& shape) {
  const kernels::AttentionArgs saved = forward_of(place, shape);
  kernels::attention(saved, place.stream());
  const Target target = kernels::target_of(place.stream());
  const kernels::AttentionBackwardArgs args{
      .shape = shape,
      .qkv = saved.qkv,
      .out = saved.out,
      .lse = saved.lse,
      .d_out = place.noise(saved.out.shape, half, 2),
      .d_qkv = place.result(place.room(saved.qkv.shape, half), 16.0 / 256),
      .scratch = place.scratch(kernels::attention_backward_scratch(shape, target))};
  return {[=, at = place.stream()] { kernels::attention_backward(args, at); }, flops(shape, 5)};
}

struct Kind {
  const char* name;
  Launch (*build)(Place& place, const AttentionShape& shape);
};
constexpr Kind kinds[] = {{"forward", forward}, {"backward", backward}};

struct Model {
  const char* name;
  AttentionShape shape;
};

// Of the model's own products, or of all where it has none.
double fastest_of(std::span<const Row> products, const std::string& model) {
  double own = 0, any = 0;
  for (const Row& row : products) {
    any = std::max(any, row.per_second());
    if (row.name.find("." + model + ".") != std::string::npos)
      own = std::max(own, row.per_second());
  }
  return own > 0 ? own : any;
}

}  // namespace

std::vector<Row> device_attention(DeviceRig& rig, std::span<const Row> products) {
  std::vector<Model> models = {{"gpt2-124m", {32, 1024, 12, 64}},
                               {"gpt2-1558m", {16, 1024, 25, 64}},
                               {"qwen2.5-0.5b", {16, 1024, 14, 64, 2}},
                               {"llama3.1-8b", {2, 4096, 32, 128, 8}}};
  if (rig.options().quick)
    models = {{"gpt2-tiny", {4, 64, 2, 64}}, {"llama-tiny", {4, 64, 4, 64, 2}}};
  std::vector<Row> rows;
  for (const auto& [model, shape] : models) {
    for (const Kind& kind : kinds) {
      const DeviceCase what{.name = std::string("device.attention.") + model + "." + kind.name,
                            .size = 1,
                            .small = 0,
                            .build =
                                [kind, shape](Place& place, std::int64_t size) {
                                  const std::int64_t shared = shape.kv_heads > 0 ? 1 : 0;
                                  const AttentionShape small{2, 70, 2, shape.head_dim, shared};
                                  return kind.build(place, size == 0 ? small : shape);
                                },
                            .extra = {{"model", std::string(model)},
                                      {"sequences", shape.sequences},
                                      {"length", shape.length},
                                      {"heads", shape.heads},
                                      {"key_heads", shape.key_heads()},
                                      {"head_dim", shape.head_dim}}};
      rows.push_back(
          rig.against_rate(what, "the fastest product of this run", fastest_of(products, model)));
    }
  }
  return rows;
}

}  // namespace sherd::bench
