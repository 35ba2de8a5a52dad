#include <array>
#include <string>

#include "bench/buffers.hpp"
#include "sherd/bench/bounds.hpp"
#include "sherd/bench/rows.hpp"

namespace sherd::bench {
namespace {

void add_streams(const BenchOptions& options, int threads, std::vector<Row>& rows) {
  const std::int64_t n = options.effective_n();
  const Shape shape{1, n};
  Buffers buffers(3 * Buffers::cost(shape, DType::f32));
  const View a = buffers.take(shape, DType::f32), b = buffers.take(shape, DType::f32),
             c = buffers.take(shape, DType::f32);
  device::Stream stream(threads);
  const std::array passes = {Pass([&] { copy_bytes(a.raw(), b.raw(), stream); }),
                             Pass([&] { touch_three(a, b, c, stream); })};
  const std::vector<Timing> times = alternate(options.effective_rounds(), passes);
  const std::vector<Extra> extra = {{"threads", std::int64_t{threads}}, {"n", n}};
  rows.push_back({.name = "copy",
                  .time = times[0],
                  .work = 8 * static_cast<double>(n),
                  .bound_name = {},
                  .extra = extra});
  rows.push_back({.name = "read-modify-write",
                  .time = times[1],
                  .work = 24 * static_cast<double>(n),
                  .bound_name = {},
                  .extra = extra});
}

void add_products(const BenchOptions& options, std::vector<Row>& rows) {
  std::vector<GemmShape> shapes = {{.m = 256, .n = 768, .k = 768, .transpose_b = true},
                                   {.m = 256, .n = 2304, .k = 768, .transpose_b = true},
                                   {.m = 256, .n = 3072, .k = 768, .transpose_b = true},
                                   {.m = 256, .n = 768, .k = 3072, .transpose_b = true}};
  if (!options.quick) shapes.push_back({.m = 256, .n = 50304, .k = 768, .transpose_b = true});
  for (const GemmShape& shape : shapes) {
    rows.push_back({.name = "sgemm",
                    .time = time_gemm(shape, options.threads, options.effective_rounds()),
                    .unit = Work::flops,
                    .work = shape.flops(),
                    .bound_name = {},
                    .extra = {{"threads", std::int64_t{options.threads}},
                              {"m", shape.m},
                              {"n", shape.n},
                              {"k", shape.k}}});
  }
}

}  // namespace

std::vector<Row> machine(const BenchOptions& options) {
  std::vector<Row> rows;
  for (int threads = 1; threads < options.threads; threads *= 2) {
    add_streams(options, threads, rows);
  }
  add_streams(options, options.threads, rows);
  add_products(options, rows);
  return rows;
}

}  // namespace sherd::bench
