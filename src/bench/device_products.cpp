// The products of GPT-2's training step in bf16 with fp32 sums, each against the fastest of the
// library's own algorithms for it.
#include <fmt/format.h>

#include "bench/device_rig.hpp"
#include "bench/rig.hpp"
#include "sherd/kernels/interface.hpp"

namespace sherd::bench {
namespace {

constexpr DType half = DType::bf16;
constexpr const char* bound_name = "the library's fastest algorithm";
constexpr const char* layers[] = {"qkv", "projection", "up", "down", "head"};
constexpr const char* directions[] = {"forward", "input_gradient", "weight_gradient"};

struct Product {
  std::string name;
  GemmShape shape;
  DType out;
  Write mode;
};

kernels::Transpose turned(bool yes) {
  return yes ? kernels::Transpose::yes : kernels::Transpose::no;
}
// Rows of logits start on aligned addresses, as the plan lays them out.
std::int64_t pitch_of(std::int64_t cols) { return cols % 8 == 0 ? 0 : (cols + 63) / 64 * 64; }

kernels::MatmulArgs operands(Place& place, const Product& product) {
  const auto [m, n, k, transpose_a, transpose_b, times] = product.shape;
  const Shape a = transpose_a ? Shape{k, m} : Shape{m, k},
              b = transpose_b ? Shape{n, k} : Shape{k, n}, out{m, n};
  const Target target{.kind = place.stream().kind(), .threads = 1};
  const Bytes scratch = kernels::matmul_scratch(
      m, n, k, half, product.out, place.on_device() ? target : kernels::target_of(place.stream()));
  return {.a = place.noise(a, half, 1, pitch_of(a.cols)),
          .b = place.noise(b, half, 1, pitch_of(b.cols)),
          .transpose_a = turned(transpose_a),
          .transpose_b = turned(transpose_b),
          .out = place.room(out, product.out, pitch_of(n)),
          .mode = product.mode,
          .scratch = place.scratch(scratch)};
}

// The same kind of product between sizes that no tile divides; a vocabulary is odd, so that its
// rows lie apart.
Product shrunk(const Product& product) {
  Product small = product;
  GemmShape& s = small.shape;
  s.m = 40, s.n = 72, s.k = 96;
  if (product.name.find(".head.") == std::string::npos) return small;
  (s.transpose_a ? s.m : s.transpose_b ? s.n : s.k) = 83;
  return small;
}

std::vector<Product> products_of_model(const RunShape& run) {
  std::vector<GemmShape> shapes = products_of(run);
  // The head's weight is the table, [vocabulary, width], and its rows come in four chunks.
  GemmShape* head = &shapes[shapes.size() - 3];
  const std::int64_t rows = head->m / 4, width = head->k, vocabulary = head->n;
  head[0] = {.m = rows, .n = vocabulary, .k = width, .transpose_b = true};
  head[1] = {.m = rows, .n = width, .k = vocabulary};
  head[2] = {.m = vocabulary, .n = width, .k = rows, .transpose_a = true};
  std::vector<Product> all;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    const bool weight = i % 3 == 2, logits = i + 3 == shapes.size();
    all.push_back(
        {fmt::format("device.matmul.{}.{}.{}", run.model, layers[i / 3], directions[i % 3]),
         shapes[i], weight || logits ? DType::f32 : half, weight ? Write::add : Write::set});
  }
  return all;
}

Row measure(DeviceRig& rig, const Product& product, const std::string& model) {
  const GemmShape& s = product.shape;
  double fastest = 0;
  {
    Place place(rig.stream());
    const StreamRef stream = place.stream();
    fastest = kernels::twin(stream).best_product(operands(place, product), stream,
                                                 rig.options().effective_rounds());
  }
  const DeviceCase what{.name = product.name,
                        .size = 1,
                        .small = 0,
                        .build =
                            [product](Place& place, std::int64_t size) {
                              const Product& one = size == 0 ? shrunk(product) : product;
                              const kernels::MatmulArgs args = operands(place, one);
                              // Of 100 terms below 1; a 16-bit result rounds once.
                              place.result(args.out, one.out == half ? 1.0 / 128 : 1e-5);
                              return Launch{[=, at = place.stream()] { kernels::matmul(args, at); },
                                            one.shape.flops()};
                            },
                        .extra = {{"model", model}, {"m", s.m}, {"n", s.n}, {"k", s.k}}};
  return rig.against_rate(what, bound_name, fastest > 0 ? s.flops() / fastest : 0);
}

}  // namespace

std::vector<Row> device_products(DeviceRig& rig) {
  std::vector<RunShape> runs = {{.model = "gpt2-124m", .micro_batch = 32, .seq_len = 1024},
                                {.model = "gpt2-1558m", .micro_batch = 16, .seq_len = 1024}};
  if (rig.options().quick) runs = {{.model = "gpt2-tiny", .micro_batch = 4, .seq_len = 64}};
  std::vector<Row> rows;
  for (const RunShape& run : runs) {
    for (const Product& product : products_of_model(run))
      rows.push_back(measure(rig, product, run.model));
  }
  return rows;
}

}  // namespace sherd::bench
