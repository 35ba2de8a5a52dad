// Attention and layer normalisation on the device, against fp64.
#include <doctest/doctest.h>

#include <array>

#include "kernels/attention_reference.hpp"
#include "kernels/twin.hpp"
#include "sherd/kernels/attention.hpp"
#include "sherd/kernels/norm_layer.hpp"

using namespace sherd;
using kernels::AttentionShape;
using test::Array;
using test::Both;
using test::float_types;
using test::half_ulp;
using test::Matrix;
using test::noise;
using test::Twin;

namespace {

constexpr std::array shapes = {AttentionShape{2, 33, 3, 24},    AttentionShape{1, 1, 1, 1},
                               AttentionShape{3, 1, 2, 8},      AttentionShape{1, 65, 1, 7},
                               AttentionShape{2, 200, 1, 64},   AttentionShape{1, 130, 2, 128},
                               AttentionShape{2, 70, 6, 16, 2}, AttentionShape{1, 130, 4, 64, 1},
                               AttentionShape{1, 40, 2, 256, 1}};

Matrix values(const Array& x) {
  Matrix all;
  for (std::int64_t i = 0; i < x.numel(); ++i) all.push_back(x[i]);
  return all;
}
double farthest(const Array& got, const Matrix& want) {
  return test::worst(
      got, [&](std::int64_t i) { return want[static_cast<std::size_t>(i)]; },
      [](std::int64_t) { return 1.0; });
}

/// Rows of a layer norm as fp64 has them.
struct Norm {
  Matrix mean, rstd;
  Norm(const Array& x, Shape shape) {
    const auto [rows, cols] = shape;
    for (std::int64_t r = 0; r < rows; ++r) {
      double sum = 0, squares = 0;
      for (std::int64_t c = 0; c < cols; ++c) sum += x[r * cols + c];
      mean.push_back(sum / double(cols));
      for (std::int64_t c = 0; c < cols; ++c) squares += std::pow(x[r * cols + c] - mean.back(), 2);
      rstd.push_back(1 / std::sqrt(squares / double(cols) + 1e-5));
    }
  }
  [[nodiscard]] double hat(const Array& x, std::int64_t i, std::int64_t cols) const {
    const auto r = static_cast<std::size_t>(i / cols);
    return (x[i] - mean[r]) * rstd[r];
  }
};

constexpr Shape norm_shapes[] = {{1, 1}, {1, 257}, {33, 259}, {300, 24}, {5, 768}, {3, 5000}};

}  // namespace

TEST_CASE("attention and its gradient on the device agree with the definition in fp64") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  for (const AttentionShape& shape : shapes) {
    for (const DType type : float_types) {
      const std::int64_t rows = shape.sequences * shape.length, width = shape.width();
      Both &qkv = twin.make({rows, shape.qkv_width()}, type, noise(1, 2)),
           &out = twin.make({rows, width}, type, noise(2)),
           &lse = twin.make({shape.sequences * shape.heads, shape.length}, DType::f32, noise(3)),
           &d_out = twin.make({rows, width}, type, noise(4, 2)),
           &d_qkv = twin.make({rows, shape.qkv_width()}, type, noise(5));
      const auto need = [&](DeviceKind kind) {
        const Target target{.kind = kind, .threads = 2};
        return std::max(kernels::attention_scratch(shape, target),
                        kernels::attention_backward_scratch(shape, target));
      };
      twin.run([&](StreamRef s) {
        kernels::attention(
            {shape, qkv.at(s), out.at(s), lse.at(s), twin.scratch(s, need(s.kind()))}, s);
        kernels::attention_backward({shape, qkv.at(s), out.at(s), lse.at(s), d_out.at(s),
                                     d_qkv.at(s), twin.scratch(s, need(s.kind()))},
                                    s);
      });
      CAPTURE(shape.length);
      CAPTURE(shape.head_dim);
      CAPTURE(name_of(type));
      const test::AttentionReference reference{shape, values(qkv.host)};
      Matrix want, want_lse;
      reference.forward(want, want_lse);
      // Of values up to 2; a 16-bit out and 16-bit probabilities also enter the gradient.
      const double half = type == DType::f32 ? 0 : half_ulp(type);
      CHECK(farthest(out.device(twin.stream), want) < 1e-5 + 4 * half);
      CHECK(farthest(lse.device(twin.stream), want_lse) < 2e-5);
      const Matrix d_want = reference.backward(values(d_out.host));
      CHECK(farthest(d_qkv.device(twin.stream), d_want) < 4e-5 + 24 * half);
      CHECK(twin.is_sound());
      twin.clear();
    }
  }
}

TEST_CASE("attention on the device gives a sequence the same bits alone and in a batch") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  const AttentionShape batch{2, 70, 2, 8}, alone{1, 70, 2, 8};
  const auto need = kernels::attention_scratch(batch, {.kind = DeviceKind::cuda, .threads = 2});
  Both &both = twin.make({140, 48}, DType::bf16, noise(1)),
       &out = twin.make({140, 16}, DType::bf16, noise(2)),
       &one = twin.make({70, 48}, DType::bf16,
                        [plain = noise(1)](std::int64_t i) { return plain(i + 70 * 48); }),
       &one_out = twin.make({70, 16}, DType::bf16, noise(3)),
       &lse = twin.make({4, 70}, DType::f32, noise(4)),
       &one_lse = twin.make({2, 70}, DType::f32, noise(4));
  for (Both* each : {&both, &out, &one, &one_out, &lse, &one_lse}) each->reset(twin.stream);
  const StreamRef s(twin.stream);
  kernels::attention({batch, both.at(s), out.at(s), lse.at(s), twin.scratch(s, need)}, s);
  kernels::attention({alone, one.at(s), one_out.at(s), one_lse.at(s), twin.scratch(s, need)}, s);
  const Matrix all = values(out.device(twin.stream));
  CHECK(Matrix(all.begin() + 70 * 16, all.end()) == values(one_out.device(twin.stream)));
}

TEST_CASE("layer norm on the device agrees with fp64 for awkward rows") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  for (const Shape shape : norm_shapes) {
    for (const DType type : float_types) {
      for (const DType weights : {DType::f32, type}) {
        const std::int64_t cols = shape.cols;
        Both &in = twin.make(shape, type, noise(1, 3)), &out = twin.make(shape, type, noise(2)),
             &gamma = twin.make({1, cols}, weights, noise(3)),
             &beta = twin.make({1, cols}, weights, noise(4)),
             &mean = twin.make({shape.rows, 1}, DType::f32, noise(5)),
             &rstd = twin.make({shape.rows, 1}, DType::f32, noise(6));
        twin.run([&](StreamRef s) {
          kernels::layer_norm(
              {in.at(s), gamma.at(s), beta.at(s), out.at(s), mean.at(s), rstd.at(s)}, s);
        });
        const Norm norm(in.host, shape);
        const auto want = [&](std::int64_t i) {
          return norm.hat(in.host, i, cols) * gamma.host[i % cols] + beta.host[i % cols];
        };
        CAPTURE(cols);
        CAPTURE(name_of(type));
        CHECK(test::worst(out.device(twin.stream), want, [&](std::int64_t i) {
                return 1e-5 + half_ulp(type) * std::abs(want(i));
              }) < 1);
        CHECK(farthest(mean.device(twin.stream), norm.mean) < 1e-6);
        CHECK(test::worst(
                  rstd.device(twin.stream),
                  [&](std::int64_t r) { return norm.rstd[static_cast<std::size_t>(r)]; },
                  [&](std::int64_t r) { return 1e-5 * norm.rstd[static_cast<std::size_t>(r)]; }) <
              1);
        CHECK(twin.is_sound());
        twin.clear();
      }
    }
  }
}

namespace {

/// One backward of a layer norm with every operand it may have.
struct NormGradient {
  NormGradient(Twin& on, Shape of, DType type, DType grad, Write how)
      : shape(of),
        mode(how),
        in(on.make(of, type, noise(1, 3))),
        d_out(on.make(of, type, noise(2))),
        gamma(on.make({1, of.cols}, type, noise(3))),
        mean(on.make({of.rows, 1}, DType::f32, statistic(&Norm::mean))),
        rstd(on.make({of.rows, 1}, DType::f32, statistic(&Norm::rstd))),
        residual(on.make(of, type, noise(4))),
        d_in(on.make(of, type, noise(5))),
        d_gamma(on.make({1, of.cols}, grad, noise(6))),
        d_beta(on.make({1, of.cols}, grad, noise(7))) {}

  [[nodiscard]] Bytes need(DeviceKind kind) const {
    return kernels::layer_norm_backward_scratch(shape.rows, shape.cols, {.kind = kind});
  }
  test::Formula statistic(Matrix Norm::*which) {
    return [norm = Norm(in.host, shape), which](std::int64_t r) {
      return (norm.*which)[static_cast<std::size_t>(r)];
    };
  }
  void run(Twin& on, StreamRef s) {
    kernels::layer_norm_backward({in.at(s),
                                  d_out.at(s),
                                  gamma.at(s),
                                  mean.at(s),
                                  rstd.at(s),
                                  residual.at(s),
                                  d_in.at(s),
                                  {d_gamma.at(s), mode, {1, 2}},
                                  {d_beta.at(s), mode, {3, 4}},
                                  on.scratch(s, need(s.kind()))},
                                 s);
  }

  Shape shape;
  Write mode;
  Both &in, &d_out, &gamma, &mean, &rstd, &residual, &d_in, &d_gamma, &d_beta;
};

void check(Twin& twin, NormGradient& g, DType type, DType grad) {
  const auto [rows, cols] = g.shape;
  const Array gamma_start = g.d_gamma.host, beta_start = g.d_beta.host;
  twin.run([&](StreamRef s) { g.run(twin, s); });
  const Norm norm(g.in.host, g.shape);
  Matrix d_in, d_gamma(static_cast<std::size_t>(cols)), d_beta(d_gamma), sizes(d_gamma);
  for (std::int64_t r = 0; r < rows; ++r) {
    double plain = 0, slanted = 0;
    for (std::int64_t i = r * cols; i < (r + 1) * cols; ++i) {
      const auto c = static_cast<std::size_t>(i % cols);
      const double hat = norm.hat(g.in.host, i, cols), dy = g.d_out.host[i];
      d_gamma[c] += dy * hat;
      d_beta[c] += dy;
      sizes[c] += std::abs(dy) * (1 + std::abs(hat));
      plain += dy * g.gamma.host[i % cols];
      slanted += dy * g.gamma.host[i % cols] * hat;
    }
    for (std::int64_t i = r * cols; i < (r + 1) * cols; ++i) {
      const double hat = norm.hat(g.in.host, i, cols);
      const double each = g.d_out.host[i] * g.gamma.host[i % cols];
      d_in.push_back(norm.rstd[static_cast<std::size_t>(r)] *
                         (each - (plain + hat * slanted) / double(cols)) +
                     g.residual.host[i]);
    }
  }
  const auto at = [](const Matrix& all, std::int64_t i) {
    return all[static_cast<std::size_t>(i)];
  };
  CHECK(test::worst(
            g.d_in.device(twin.stream), [&](std::int64_t i) { return at(d_in, i); },
            [&](std::int64_t i) { return 1e-4 + half_ulp(type) * std::abs(at(d_in, i)); }) < 1);
  const double step = grad == DType::bf16 ? 2 * half_ulp(grad) : 0;
  const auto column = [&](Both& both, const Matrix& sums, const Array& start) {
    const auto want = [&](std::int64_t c) {
      return at(sums, c) + (g.mode == Write::add ? start[c] : 0);
    };
    return test::worst(both.device(twin.stream), want, [&](std::int64_t c) {
      return 1e-5 * (1 + at(sizes, c)) + step * std::abs(want(c));
    });
  };
  CHECK(column(g.d_gamma, d_gamma, gamma_start) < 1);
  CHECK(column(g.d_beta, d_beta, beta_start) < 1);
  CHECK(twin.is_sound());
}

}  // namespace

TEST_CASE("layer norm backward on the device agrees with fp64, gradients in fp32 and bf16") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  for (const Shape shape : norm_shapes) {
    for (const DType type : float_types) {
      for (const DType grad : {DType::f32, DType::bf16}) {
        for (const Write mode : {Write::set, Write::add}) {
          NormGradient gradient(twin, shape, type, grad, mode);
          CAPTURE(shape.cols);
          CAPTURE(name_of(type));
          CAPTURE(name_of(grad));
          check(twin, gradient, type, grad);
          twin.clear();
        }
      }
    }
  }
}

TEST_CASE("layer norm backward on the device works in place and without what is not wanted") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  NormGradient apart(twin, {33, 259}, DType::bf16, DType::f32, Write::set);
  apart.d_out.reset(twin.stream);
  twin.run([&](StreamRef s) { apart.run(twin, s); });
  const Array want = apart.d_in.device(twin.stream), gamma = apart.d_gamma.device(twin.stream);
  for (Both* place : {&apart.d_out, &apart.residual}) {
    twin.run([&](StreamRef s) {
      kernels::layer_norm_backward({apart.in.at(s),
                                    apart.d_out.at(s),
                                    apart.gamma.at(s),
                                    apart.mean.at(s),
                                    apart.rstd.at(s),
                                    apart.residual.at(s),
                                    place->at(s),
                                    {apart.d_gamma.at(s)},
                                    {},
                                    twin.scratch(s, apart.need(s.kind()))},
                                   s);
    });
    CHECK(place->device(twin.stream) == want);
    CHECK(apart.d_gamma.device(twin.stream) == gamma);
    CHECK(twin.is_sound());
  }
}
