#include <numbers>

#include "bench/kernel_case.hpp"
#include "sherd/kernels/elementwise.hpp"

namespace sherd::bench {
namespace {

// Hendrycks & Gimpel 2016, §2, tanh form, and its derivative.
struct Gelu {
  double value, slope;
};
Gelu gelu(double x) {
  const double root = std::sqrt(2 / std::numbers::pi);
  const double t = std::tanh(root * (x + 0.044715 * x * x * x));
  const double inner = root * (1 + 3 * 0.044715 * x * x);
  return {0.5 * x * (1 + t), 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * inner};
}

double slack(double expected) { return 2e-6 + 1e-5 * std::abs(expected); }

struct Operands {
  View in, grad, out, half;
  std::vector<Extra> extra;
};

void add_gelu(const Operands& o, int rounds, StreamRef stream, std::vector<Row>& rows) {
  const View in = o.in, grad = o.grad, out = o.out;
  const std::int64_t n = in.numel();
  const double count = static_cast<double>(n);
  const std::vector<Extra>& extra = o.extra;
  const float *x = in.as<float>(), *g = grad.as<float>(), *y = out.as<float>();

  Case one{.name = "gelu",
           .pass = [&] { kernels::gelu(in, out, stream); },
           .work = 8 * count,
           .extra = extra};
  one.pass();
  one.wrong = count_wrong(n, stream, [&](std::int64_t i) {
    const double expected = gelu(wide(x[i])).value;
    return near(y[i], expected, slack(expected));
  });
  rows.push_back(against_copy(one, rounds, stream));

  one = {.name = "gelu backward",
         .pass = [&] { kernels::gelu_backward(in, grad, out, stream); },
         .work = 12 * count,
         .extra = extra};
  one.pass();
  one.wrong = count_wrong(n, stream, [&](std::int64_t i) {
    const double expected = gelu(wide(x[i])).slope * wide(g[i]);
    return near(y[i], expected, slack(expected));
  });
  rows.push_back(against_copy(one, rounds, stream));
}

void add_casts(const Operands& o, int rounds, StreamRef stream, std::vector<Row>& rows) {
  const View in = o.in, out = o.out, half = o.half;
  const std::vector<Extra>& extra = o.extra;
  const std::int64_t n = in.numel();
  const double count = static_cast<double>(n);
  const float *x = in.as<float>(), *y = out.as<float>();
  Case one{.name = "cast fp32 to bf16",
           .pass = [&] { kernels::cast(in, half, stream); },
           .work = 6 * count,
           .extra = extra};
  one.pass();
  one.wrong = count_wrong(n, stream, [&](std::int64_t i) {
    return half.as<bfloat16>()[i].bits == to_bfloat16(x[i]).bits;
  });
  rows.push_back(against_copy(one, rounds, stream));

  one = {.name = "cast bf16 to fp32",
         .pass = [&] { kernels::cast(half, out, stream); },
         .work = 6 * count,
         .extra = extra};
  one.pass();
  one.wrong = count_wrong(n, stream,
                          [&](std::int64_t i) { return y[i] == to_float(half.as<bfloat16>()[i]); });
  rows.push_back(against_copy(one, rounds, stream));
}

}  // namespace

std::vector<Row> elementwise_rows(const BenchOptions& options, StreamRef stream) {
  const std::int64_t n = options.quick ? 1 << 20 : 16 << 20;
  const int rounds = options.effective_rounds();
  Buffers buffers(3 * Buffers::cost({1, n}, DType::f32) + Buffers::cost({1, n}, DType::bf16));
  const Operands o{.in = buffers.take({1, n}, DType::f32),
                   .grad = buffers.take({1, n}, DType::f32),
                   .out = buffers.take({1, n}, DType::f32),
                   .half = buffers.take({1, n}, DType::bf16),
                   .extra = {{"n", n}}};
  fill(o.in, 1, 4, stream);
  fill(o.grad, 2, 1, stream);
  std::vector<Row> rows;
  add_gelu(o, rounds, stream, rows);
  add_casts(o, rounds, stream, rows);
  return rows;
}

}  // namespace sherd::bench
