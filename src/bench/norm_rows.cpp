#include "bench/kernel_case.hpp"
#include "sherd/kernels/norm_layer.hpp"

namespace sherd::bench {
namespace {

constexpr std::int64_t cols = 768;

struct Operands {
  View in, d_out, out, d_in;          // [rows, cols]
  View gamma, beta, d_gamma, d_beta;  // [1, cols]
  View mean, rstd;                    // [rows, 1]
};

Operands operands(Buffers& buffers, std::int64_t rows, StreamRef stream) {
  const auto take = [&](Shape shape) { return buffers.take(shape, DType::f32); };
  Operands o;
  for (View* v : {&o.in, &o.d_out, &o.out, &o.d_in}) *v = take({rows, cols});
  for (View* v : {&o.gamma, &o.beta, &o.d_gamma, &o.d_beta}) *v = take({1, cols});
  for (View* v : {&o.mean, &o.rstd}) *v = take({rows, 1});
  fill(o.in, 1, 2, stream);
  fill(o.d_out, 2, 1, stream);
  fill(o.gamma, 3, 1, stream);
  fill(o.beta, 4, 1, stream);
  return o;
}

// Of one row, in fp64.
struct Statistics {
  double mean = 0, rstd = 0;    // of the input
  double slope = 0, along = 0;  // means of gamma·d_out and of gamma·d_out·normalised
};
Statistics statistics(const Operands& o, std::int64_t row) {
  const float* x = o.in.as<float>() + row * cols;
  const float* g = o.d_out.as<float>() + row * cols;
  Statistics s;
  double square = 0;
  for (std::int64_t c = 0; c < cols; ++c) s.mean += wide(x[c]) / cols;
  for (std::int64_t c = 0; c < cols; ++c) square += std::pow(wide(x[c]) - s.mean, 2) / cols;
  s.rstd = 1 / std::sqrt(square + wide(1e-5f));
  for (std::int64_t c = 0; c < cols; ++c) {
    const double slope = wide(o.gamma.as<float>()[c]) * wide(g[c]);
    s.slope += slope / cols;
    s.along += slope * (wide(x[c]) - s.mean) * s.rstd / cols;
  }
  return s;
}

// Elements of a row whose value differs from Ba et al. 2016, equation 4, or from its gradient.
std::int64_t wrong_in_row(const Operands& o, std::int64_t row, bool backward) {
  const Statistics s = statistics(o, row);
  std::int64_t wrong = 0;
  for (std::int64_t c = 0; c < cols; ++c) {
    const std::int64_t i = row * cols + c;
    const double unit = (wide(o.in.as<float>()[i]) - s.mean) * s.rstd;
    const double gamma = wide(o.gamma.as<float>()[c]);
    const double forward = unit * gamma + wide(o.beta.as<float>()[c]);
    const double slope = gamma * wide(o.d_out.as<float>()[i]);
    const double gradient = s.rstd * (slope - s.slope - unit * s.along);
    const bool right = backward ? near(o.d_in.as<float>()[i], gradient, 1e-5)
                                : near(o.out.as<float>()[i], forward, 1e-5);
    wrong += right ? 0 : 1;
  }
  return wrong;
}

std::int64_t wrong_in_all(const Operands& o, bool backward, StreamRef stream) {
  std::atomic<std::int64_t> wrong{0};
  stream.workers().run(o.in.shape.rows,
                       [&](std::int64_t row, int) { wrong += wrong_in_row(o, row, backward); });
  return wrong;
}

// Columns of d_gamma and d_beta that differ from a plain sum over rows.
std::int64_t wrong_columns(const Operands& o, StreamRef stream) {
  const std::int64_t rows = o.in.shape.rows;
  const double error = 1e-6 * static_cast<double>(rows);
  std::vector<double> gamma(cols), beta(cols);
  for (std::int64_t row = 0; row < rows; ++row) {
    const Statistics s = statistics(o, row);
    for (std::int64_t c = 0; c < cols; ++c) {
      const std::int64_t i = row * cols + c;
      const double d = wide(o.d_out.as<float>()[i]);
      gamma[static_cast<std::size_t>(c)] += d * (wide(o.in.as<float>()[i]) - s.mean) * s.rstd;
      beta[static_cast<std::size_t>(c)] += d;
    }
  }
  return count_wrong(cols, stream, [&](std::int64_t c) {
    const auto at = static_cast<std::size_t>(c);
    return near(o.d_gamma.as<float>()[c], gamma[at], error) &&
           near(o.d_beta.as<float>()[c], beta[at], error);
  });
}

}  // namespace

std::vector<Row> norm_rows(const BenchOptions& options, StreamRef stream) {
  const std::int64_t rows = options.quick ? 512 : 8192;
  const double bytes = 4 * static_cast<double>(rows * cols);
  const Shape scratch{
      1, static_cast<std::int64_t>(kernels::layer_norm_backward_scratch(rows, cols, {}))};
  Buffers buffers(4 * Buffers::cost({rows, cols}, DType::f32) +
                  4 * Buffers::cost({1, cols}, DType::f32) +
                  2 * Buffers::cost({rows, 1}, DType::f32) + Buffers::cost(scratch, DType::u8));
  const Operands o = operands(buffers, rows, stream);
  const kernels::LayerNormArgs forward{
      .in = o.in, .gamma = o.gamma, .beta = o.beta, .out = o.out, .mean = o.mean, .rstd = o.rstd};
  const kernels::LayerNormBackwardArgs backward{.in = o.in,
                                                .d_out = o.d_out,
                                                .gamma = o.gamma,
                                                .mean = o.mean,
                                                .rstd = o.rstd,
                                                .residual = {},
                                                .d_in = o.d_in,
                                                .d_gamma = {.to = o.d_gamma, .round = {}},
                                                .d_beta = {.to = o.d_beta, .round = {}},
                                                .scratch = buffers.take(scratch, DType::u8)};
  const std::vector<Extra> extra = {{"rows", rows}, {"cols", std::int64_t{cols}}};
  const int rounds = options.effective_rounds();

  Case one{.name = "layer norm",
           .pass = [&] { kernels::layer_norm(forward, stream); },
           .work = 2 * bytes,
           .extra = extra};
  one.pass();
  one.wrong = wrong_in_all(o, false, stream);
  Case two{.name = "layer norm backward",
           .pass = [&] { kernels::layer_norm_backward(backward, stream); },
           .work = 3 * bytes,
           .extra = extra};
  two.pass();
  two.wrong = wrong_in_all(o, true, stream) + wrong_columns(o, stream);
  return {against_copy(one, rounds, stream), against_copy(two, rounds, stream)};
}

}  // namespace sherd::bench
