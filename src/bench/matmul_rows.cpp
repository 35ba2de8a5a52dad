#include "bench/kernel_case.hpp"
#include "sherd/kernels/matmul.hpp"

namespace sherd::bench {
namespace {

double at(View view, std::int64_t i) {
  return wide(view.type == DType::bf16 ? to_float(view.as<bfloat16>()[i]) : view.as<float>()[i]);
}

// Outputs of one row in 16 that are further from the fp64 sum than rounding allows.
std::int64_t wrong_products(const kernels::MatmulArgs& args, StreamRef stream) {
  const std::int64_t n = args.out.shape.cols, k = args.a.shape.cols;
  const double rounded = args.out.type == DType::bf16 ? 0x1p-8 : 0;
  return count_wrong(args.out.numel() / 16, stream, [&](std::int64_t i) {
    const std::int64_t row = i / n * 16, col = i % n;
    double sum = 0, size = 0;
    for (std::int64_t j = 0; j < k; ++j) {
      const double term = at(args.a, row * k + j) * at(args.b, j * n + col);
      sum += term;
      size += std::abs(term);
    }
    const double error = 0x1p-22 * size + rounded * std::abs(sum);
    return std::abs(at(args.out, row * n + col) - sum) <= error;
  });
}

Row matmul_row(const GemmShape& shape, DType type, int rounds, StreamRef stream) {
  const Target target{.compute = type, .threads = stream.workers().threads()};
  const Bytes need = kernels::matmul_scratch(shape.m, shape.n, shape.k, type, type, target);
  const Shape scratch{1, static_cast<std::int64_t>(need)};
  Buffers buffers(operand_bytes(shape) + Buffers::cost(scratch, DType::u8));
  const kernels::MatmulArgs args{.a = buffers.take({shape.m, shape.k}, type),
                                 .b = buffers.take({shape.k, shape.n}, type),
                                 .out = buffers.take({shape.m, shape.n}, type),
                                 .bias = {},
                                 .scratch = need > 0 ? buffers.take(scratch, DType::u8) : View{}};
  fill(args.a, 1, 1, stream);
  fill(args.b, 2, 1, stream);
  Case one{
      .name = "matmul",
      .pass = [&] { kernels::matmul(args, stream); },
      .unit = Work::flops,
      .work = shape.flops(),
      .extra = {
          {"type", std::string(name_of(type))}, {"m", shape.m}, {"n", shape.n}, {"k", shape.k}}};
  one.pass();
  one.wrong = wrong_products(args, stream);
  return against_gemm(one, shape, rounds, stream);
}

}  // namespace

std::vector<Row> matmul_rows(const BenchOptions& options, StreamRef stream) {
  const int rounds = options.effective_rounds();
  std::vector<GemmShape> shapes = {{.m = 256, .n = 768, .k = 768}};
  if (!options.quick) {
    shapes.push_back({.m = 256, .n = 2304, .k = 768});
    shapes.push_back({.m = 256, .n = 3072, .k = 768});
    shapes.push_back({.m = 256, .n = 768, .k = 3072});
  }
  std::vector<Row> rows;
  for (const GemmShape& shape : shapes) {
    for (const DType type : {DType::f32, DType::bf16}) {
      rows.push_back(matmul_row(shape, type, rounds, stream));
    }
  }
  return rows;
}

}  // namespace sherd::bench
