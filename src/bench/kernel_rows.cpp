#include <algorithm>
#include <array>
#include <iterator>

#include "bench/kernel_case.hpp"

namespace sherd::bench {
namespace {

Row row_of(const Case& what, const std::vector<Timing>& times, double bound_work, int threads) {
  Row row{.name = what.name,
          .time = times[0],
          .unit = what.unit,
          .work = what.work,
          .bound_name = {},
          .bound = bound_work / times[1].median,
          .wrong = what.wrong,
          .extra = what.extra};
  row.extra.emplace_back("threads", std::int64_t{threads});
  return row;
}

}  // namespace

Row against_copy(const Case& what, int rounds, StreamRef stream) {
  const Shape half{1, static_cast<std::int64_t>(what.work / 2)};
  Buffers buffers(2 * Buffers::cost(half, DType::u8));
  const View from = buffers.take(half, DType::u8), to = buffers.take(half, DType::u8);
  const std::array passes = {what.pass, Pass([&] { copy_bytes(from.raw(), to.raw(), stream); })};
  const std::vector<Timing> times = alternate(rounds, passes);
  Row row = row_of(what, times, 2 * static_cast<double>(half.cols), stream.workers().threads());
  row.bound_name = "copy";
  return row;
}

Row against_gemm(const Case& what, const GemmShape& shape, int rounds, StreamRef stream) {
  Buffers buffers(operand_bytes(shape));
  const View a = buffers.take({shape.m, shape.k}, DType::f32);
  const View b = buffers.take({shape.k, shape.n}, DType::f32);
  const View out = buffers.take({shape.m, shape.n}, DType::f32);
  fill(a, 1, 1, stream);
  fill(b, 2, 1, stream);
  const int threads = stream.workers().threads();
  const std::array passes = {
      what.pass,
      Pass([&] { library_gemm(shape, a.as<float>(), b.as<float>(), out.as<float>(), threads); })};
  Row row = row_of(what, alternate(rounds, passes), shape.flops(), threads);
  row.bound_name = "library sgemm " + std::to_string(shape.m) + "x" + std::to_string(shape.n) +
                   "x" + std::to_string(shape.k);
  return row;
}

std::vector<Row> kernels(const BenchOptions& options) {
  device::Stream stream(options.threads);
  std::vector<Row> rows;
  for (const auto& some : {elementwise_rows, norm_rows, llama_rows, head_rows, loss_rows,
                           attention_rows, matmul_rows}) {
    std::ranges::move(some(options, stream), std::back_inserter(rows));
  }
  return rows;
}

}  // namespace sherd::bench
