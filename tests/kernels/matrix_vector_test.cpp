// Products of one row, which generation is made of, against fp64.
#include <doctest/doctest.h>

#include <cmath>
#include <optional>

#include "kernels/tensor.hpp"
#include "sherd/kernels/matmul.hpp"

using namespace sherd;
using kernels::Transpose;
using test::Tensor;

namespace {

struct Case {
  std::int64_t n, k;
  DType a = DType::f32, b = DType::f32, out = DType::f32;
  Transpose transpose = Transpose::no;
  bool bias = true;
};

struct Problem {
  Case shape;
  Tensor a, b, bias;
  explicit Problem(const Case& c)
      : shape(c),
        a({1, c.k}, c.a, 1),
        b(c.transpose == Transpose::no ? Shape{c.k, c.n} : Shape{c.n, c.k}, c.b, 2),
        bias({1, c.n}, c.b, 3) {}

  [[nodiscard]] Tensor run(int threads) const {
    const DType half = shape.a == DType::f32 ? shape.b : shape.a;
    // What is declared for many rows must do for one.
    const Bytes need =
        kernels::matmul_scratch(1, shape.n, shape.k, half, shape.out, {.threads = threads});
    CHECK(need <=
          kernels::matmul_scratch(77, shape.n, shape.k, half, shape.out, {.threads = threads}));
    const Tensor scratch({1, static_cast<std::int64_t>(need)}, DType::u8, 0);
    Tensor out({1, shape.n}, shape.out, 4);
    device::Stream stream(threads);
    kernels::matmul({.a = a.view(),
                     .b = b.view(),
                     .transpose_b = shape.transpose,
                     .out = out.view(),
                     .bias = shape.bias ? bias.view() : View{},
                     .scratch = scratch.view()},
                    stream);
    return out;
  }
  void check(const Tensor& out) const {
    for (std::int64_t j = 0; j < shape.n; ++j) {
      double sum = shape.bias ? bias.at(0, j) : 0, size = std::abs(sum);
      for (std::int64_t i = 0; i < shape.k; ++i) {
        const double term =
            a.at(0, i) * (shape.transpose == Transpose::no ? b.at(i, j) : b.at(j, i));
        sum += term;
        size += std::abs(term);
      }
      const double allowed = 1e-6 * size + test::half_ulp(shape.out) * 1.01 * std::abs(sum);
      if (!(std::abs(out.at(0, j) - sum) <= allowed)) {
        CAPTURE(j);
        CHECK(out.at(0, j) == doctest::Approx(sum));
        return;
      }
    }
  }
};

}  // namespace

TEST_CASE("one row times a matrix is the product in fp64, with the same bits by any threads") {
  for (const std::int64_t n : {1, 5, 300, 511, 768, 4100}) {
    for (const std::int64_t k : {1, 3, 100, 511, 770, 1601}) {
      for (const Transpose transpose : {Transpose::no, Transpose::yes}) {
        CAPTURE(n);
        CAPTURE(k);
        const Problem problem({.n = n, .k = k, .transpose = transpose, .bias = (n + k) % 2 == 0});
        const Tensor one = problem.run(1);
        problem.check(one);
        CHECK(one == problem.run(2));
        CHECK(one == problem.run(3));
      }
    }
  }
}

TEST_CASE("one row in 16 bits is rounded once, whatever the types") {
  const DType types[] = {DType::f32, DType::bf16, DType::f16};
  for (const DType a : types) {
    for (const DType b : types) {
      for (const DType out : types) {
        for (const Transpose transpose : {Transpose::no, Transpose::yes}) {
          for (const auto& [n, k] : {std::pair<std::int64_t, std::int64_t>{70, 90}, {700, 333}}) {
            CAPTURE(name_of(a));
            CAPTURE(name_of(b));
            CAPTURE(name_of(out));
            const Problem problem(
                {.n = n, .k = k, .a = a, .b = b, .out = out, .transpose = transpose});
            const Tensor one = problem.run(1);
            problem.check(one);
            CHECK(one == problem.run(3));
          }
        }
      }
    }
  }
}
