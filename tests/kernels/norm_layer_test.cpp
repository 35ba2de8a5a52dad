#include "sherd/kernels/norm_layer.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <optional>

#include "kernels/array.hpp"
#include "sherd/base/errors.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

constexpr Shape shapes[] = {{1, 1}, {3, 7}, {33, 72}, {17, 256}, {5, 771}, {1100, 24}, {0, 8}};
constexpr double eps = 1e-5;

struct Row {
  double mean = 0, rstd = 0;
};
Row statistics(const Array& in, std::int64_t row, std::int64_t cols) {
  Row r;
  double variance = 0;
  for (std::int64_t c = 0; c < cols; ++c) r.mean += in[row * cols + c] / static_cast<double>(cols);
  for (std::int64_t c = 0; c < cols; ++c)
    variance += std::pow(in[row * cols + c] - r.mean, 2) / static_cast<double>(cols);
  r.rstd = 1 / std::sqrt(variance + eps);
  return r;
}

/// One problem with its forward pass run.
struct Problem {
  Problem(Shape shape, DType type)
      : rows(shape.rows),
        cols(shape.cols),
        in(shape, type, [](std::int64_t i) { return 3 + noise(1, 2)(i); }),
        d_out(shape, type, noise(2)),
        residual(shape, type, noise(3)),
        gamma({1, shape.cols}, type, [](std::int64_t i) { return 1 + noise(4, 0.5)(i); }),
        beta({1, shape.cols}, type, noise(5)),
        out(shape, type),
        mean({shape.rows, 1}, DType::f32),
        rstd({shape.rows, 1}, DType::f32) {}

  void forward(StreamRef stream) {
    kernels::layer_norm({in.view(), gamma.view(), beta.view(), out.view(), mean.view(), rstd.view(),
                         static_cast<float>(eps)},
                        stream);
  }
  kernels::LayerNormBackwardArgs backward(Array& d_in, Grad d_gamma, Grad d_beta, Array& space) {
    return {.in = in.view(),
            .d_out = d_out.view(),
            .gamma = gamma.view(),
            .mean = mean.view(),
            .rstd = rstd.view(),
            .residual = {},
            .d_in = d_in.view(),
            .d_gamma = d_gamma,
            .d_beta = d_beta,
            .scratch = space.view()};
  }
  /// d_in in fp64, without the residual.
  double d_in_reference(std::int64_t row, std::int64_t col) const {
    const Row r = statistics(in, row, cols);
    double weighted = 0, product = 0;
    for (std::int64_t c = 0; c < cols; ++c) {
      const double w = d_out[row * cols + c] * gamma[c] / static_cast<double>(cols);
      weighted += w;
      product += w * (in[row * cols + c] - r.mean) * r.rstd;
    }
    const double hat = (in[row * cols + col] - r.mean) * r.rstd;
    return r.rstd * (d_out[row * cols + col] * gamma[col] - weighted - hat * product);
  }

  std::int64_t rows, cols;
  Array in, d_out, residual, gamma, beta, out, mean, rstd;
};

}  // namespace

TEST_CASE("layer norm equals its fp64 definition for every type and awkward shapes") {
  device::Stream stream(1);
  for (const DType type : float_types) {
    for (const Shape shape : shapes) {
      Problem p(shape, type);
      p.forward(stream);
      bool good = p.out.guarded() && p.mean.guarded() && p.rstd.guarded();
      for (std::int64_t r = 0; r < p.rows; ++r) {
        const Row want = statistics(p.in, r, p.cols);
        good = good && std::abs(p.mean[r] - want.mean) < 2e-6;
        good = good && std::abs(p.rstd[r] / want.rstd - 1) < 4e-6;
        for (std::int64_t c = 0; c < p.cols; ++c) {
          const double y = (p.in[r * p.cols + c] - want.mean) * want.rstd * p.gamma[c] + p.beta[c];
          good = good && std::abs(p.out[r * p.cols + c] - y) <=
                             half_ulp(type) * std::abs(y) + (p.cols == 1 ? 2e-4 : 1e-5);
        }
      }
      CHECK_MESSAGE(good, name_of(type) << " " << shape.rows << "x" << shape.cols);
      const Array first = p.out;
      kernels::layer_norm({p.in.view(), p.gamma.view(), p.beta.view(), p.in.view(), p.mean.view(),
                           p.rstd.view(), static_cast<float>(eps)},
                          stream);
      CHECK(p.in == first);
    }
  }
}

TEST_CASE("layer norm backward equals fp64 sums for every type and awkward shapes") {
  device::Stream stream(1);
  for (const DType type : float_types) {
    for (const Shape shape : shapes) {
      if (shape.cols == 1) continue;
      Problem p(shape, type);
      p.forward(stream);
      Array d_in(shape, type), d_gamma({1, p.cols}, DType::f32), d_beta({1, p.cols}, DType::f32);
      Array space = scratch(kernels::layer_norm_backward_scratch(p.rows, p.cols, {}));
      kernels::layer_norm_backward(p.backward(d_in, {d_gamma.view()}, {d_beta.view()}, space),
                                   stream);
      bool good = d_in.guarded() && space.guarded();
      for (std::int64_t c = 0; c < p.cols; ++c) {
        double gamma = 0, beta = 0;
        for (std::int64_t r = 0; r < p.rows; ++r) {
          const Row row = statistics(p.in, r, p.cols);
          const double dy = p.d_out[r * p.cols + c];
          gamma += dy * (p.in[r * p.cols + c] - row.mean) * row.rstd;
          beta += dy;
          if (r > 20) continue;  // the reference is quadratic in cols
          const double want = p.d_in_reference(r, c);
          good = good &&
                 std::abs(d_in[r * p.cols + c] - want) <= half_ulp(type) * std::abs(want) + 2e-5;
        }
        good = good && std::abs(d_gamma[c] - gamma) < 1e-4 && std::abs(d_beta[c] - beta) < 1e-4;
      }
      CHECK_MESSAGE(good, name_of(type) << " " << shape.rows << "x" << shape.cols);
    }
  }
}

TEST_CASE("layer norm backward equals a central difference of the fp64 forward pass") {
  device::Stream stream(1);
  Problem p({2, 19}, DType::f32);
  p.forward(stream);
  Array d_in({2, 19}, DType::f32), d_gamma({1, 19}, DType::f32), d_beta({1, 19}, DType::f32);
  Array space = scratch(kernels::layer_norm_backward_scratch(2, 19, {}));
  kernels::layer_norm_backward(p.backward(d_in, {d_gamma.view()}, {d_beta.view()}, space), stream);
  const auto loss = [&](std::int64_t nudged, double by) {
    double sum = 0;
    const std::int64_t row = nudged / 19;
    double mean = 0, variance = 0;
    const auto x = [&](std::int64_t c) {
      return p.in[row * 19 + c] + (row * 19 + c == nudged ? by : 0);
    };
    for (std::int64_t c = 0; c < 19; ++c) mean += x(c) / 19;
    for (std::int64_t c = 0; c < 19; ++c) variance += (x(c) - mean) * (x(c) - mean) / 19;
    for (std::int64_t c = 0; c < 19; ++c) {
      sum += p.d_out[row * 19 + c] *
             ((x(c) - mean) / std::sqrt(variance + eps) * p.gamma[c] + p.beta[c]);
    }
    return sum;
  };
  for (std::int64_t i = 0; i < 38; ++i) {
    CHECK(std::abs(d_in[i] - (loss(i, 1e-5) - loss(i, -1e-5)) / 2e-5) < 1e-5);
  }
}

TEST_CASE("layer norm backward adds the residual and may overwrite it or d_out") {
  device::Stream stream(1);
  for (const DType type : float_types) {
    Problem p({33, 331}, type);
    p.forward(stream);
    Array space = scratch(kernels::layer_norm_backward_scratch(33, 331, {}));
    Array d_in({33, 331}, type), gamma({1, 331}, DType::f32), beta({1, 331}, DType::f32);
    auto args = p.backward(d_in, {gamma.view()}, {beta.view()}, space);
    args.residual = p.residual.view();
    kernels::layer_norm_backward(args, stream);
    for (std::int64_t c = 0; c < 331; ++c) {
      const double want = p.d_in_reference(7, c) + p.residual[7 * 331 + c];
      REQUIRE(std::abs(d_in[7 * 331 + c] - want) <= half_ulp(type) * std::abs(want) + 2e-5);
    }
    Array gamma2({1, 331}, DType::f32), beta2({1, 331}, DType::f32), kept = p.d_out;
    args = p.backward(p.d_out, {gamma2.view()}, {beta2.view()}, space);
    args.residual = p.residual.view();
    kernels::layer_norm_backward(args, stream);
    CHECK(p.d_out == d_in);
    CHECK(gamma2 == gamma);
    CHECK(beta2 == beta);
    args = p.backward(p.residual, {gamma2.view()}, {beta2.view()}, space);
    args.d_out = kept.view();
    args.residual = p.residual.view();
    kernels::layer_norm_backward(args, stream);
    CHECK(p.residual == d_in);
  }
}

TEST_CASE("layer norm gradients accumulate, round to bf16 by element bits, and may be left out") {
  device::Stream stream(1);
  Problem p({65, 300}, DType::f32);
  p.forward(stream);
  Array space = scratch(kernels::layer_norm_backward_scratch(65, 300, {})),
        none({0, 0}, DType::f32);
  Array set({1, 300}, DType::f32), d_in({65, 300}, DType::f32);
  kernels::layer_norm_backward(p.backward(d_in, {set.view()}, {}, space), stream);
  Array added({1, 300}, DType::f32, noise(8)), before = added;
  auto args = p.backward(d_in, {added.view(), Write::add}, {}, space);
  args.d_in = {};
  kernels::layer_norm_backward(args, stream);
  const Philox bits = philox(2, Purpose::gradient_rounding, {7});
  Array rounded({1, 300}, DType::bf16, noise(8)), coarse = rounded;
  args.d_gamma = {rounded.view(), Write::add, bits};
  kernels::layer_norm_backward(args, stream);
  for (std::int64_t c = 0; c < 300; ++c) {
    const auto sum = static_cast<float>(set[c]);
    CHECK(added[c] == static_cast<double>(static_cast<float>(before[c]) + sum));
    const auto word = philox_u32(bits, static_cast<std::uint64_t>(c));
    const float total = static_cast<float>(coarse[c]) + sum;
    CHECK(rounded[c] == static_cast<double>(to_float(to_bfloat16_stochastic(total, word))));
  }
}

TEST_CASE("layer norm refuses statistics, gradients and scratch that do not fit") {
  device::Stream stream(1);
  Problem p({4, 8}, DType::f32);
  Array d_in({4, 8}, DType::f32), wrong({1, 7}, DType::f32), tiny({1, 1}, DType::f32);
  Array right({1, 8}, DType::f32);
  Array space = scratch(kernels::layer_norm_backward_scratch(4, 8, {}));
  kernels::LayerNormArgs forward{p.in.view(),  p.gamma.view(), p.beta.view(),
                                 p.out.view(), right.view(),   p.rstd.view()};
  CHECK_THROWS_AS(kernels::layer_norm(forward, stream), UsageError);
  auto args = p.backward(d_in, {wrong.view()}, {}, space);
  CHECK_THROWS_AS(kernels::layer_norm_backward(args, stream), UsageError);
  args = p.backward(d_in, {right.view()}, {}, tiny);
  CHECK_THROWS_AS(kernels::layer_norm_backward(args, stream), UsageError);
}
