#include "sherd/kernels/matmul.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/tensor.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/base/poison.hpp"

using namespace sherd;
using kernels::MatmulArgs;
using kernels::Transpose;
using test::Tensor;

namespace {

struct Case {
  std::int64_t m, n, k;
  DType a, b, out;
  Transpose transpose_a = Transpose::no, transpose_b = Transpose::no;
  Write mode = Write::set;
  bool bias = false;
};

Shape stored(std::int64_t rows, std::int64_t cols, Transpose transpose) {
  return transpose == Transpose::yes ? Shape{cols, rows} : Shape{rows, cols};
}
double element(const Tensor& x, std::int64_t row, std::int64_t col, Transpose transpose) {
  return transpose == Transpose::yes ? x.at(col, row) : x.at(row, col);
}

/// A matrix whose columns [first, first + those of `inner`) are `inner`.
struct Wide {
  Wide(const Tensor& inner, std::int64_t at)
      : first(at),
        columns(inner.view().shape.cols),
        whole({inner.view().shape.rows, columns + 2 * at + 1}, inner.view().type, 9) {
    for (std::int64_t i = 0; i < inner.view().shape.rows; ++i)
      for (std::int64_t j = 0; j < columns; ++j) whole.put(i, first + j, inner.at(i, j));
  }
  [[nodiscard]] View part() const { return whole.view().columns(first, columns); }

  std::int64_t first, columns;
  Tensor whole;
};

struct Problem {
  explicit Problem(const Case& c)
      : shape(c),
        a(stored(c.m, c.k, c.transpose_a), c.a, 1),
        b(stored(c.k, c.n, c.transpose_b), c.b, 2),
        bias({1, c.n}, c.b, 3),
        before({c.m, c.n}, c.out, 4) {}

  Tensor run(int threads, const Philox* round = nullptr) {
    Tensor out = before;
    const DType half = shape.a == DType::f32 ? shape.b : shape.a;
    const Bytes need =
        kernels::matmul_scratch(shape.m, shape.n, shape.k, half, shape.out, {.threads = threads});
    Tensor scratch({1, static_cast<std::int64_t>(need)}, DType::u8, 0);
    device::Stream stream(threads);
    MatmulArgs args{.a = a.view(),
                    .b = b.view(),
                    .transpose_a = shape.transpose_a,
                    .transpose_b = shape.transpose_b,
                    .out = out.view(),
                    .mode = shape.mode,
                    .round = round};
    if (shape.bias) args.bias = bias.view();
    if (need != 0) args.scratch = scratch.view();
    kernels::matmul(args, stream);
    return out;
  }

  /// The same on columns of wider matrices; `spilled` counts neighbours that changed.
  Tensor run_inside(int threads, std::int64_t& spilled) {
    const Wide wide_a(a, 3), wide_b(b, 7), wide_out(before, 5);
    const Tensor was = wide_out.whole;
    const DType half = shape.a == DType::f32 ? shape.b : shape.a;
    Tensor scratch({1, static_cast<std::int64_t>(kernels::matmul_scratch(
                           shape.m, shape.n, shape.k, half, shape.out, {.threads = threads}))},
                   DType::u8, 0);
    device::Stream stream(threads);
    kernels::matmul({.a = wide_a.part(),
                     .b = wide_b.part(),
                     .transpose_a = shape.transpose_a,
                     .transpose_b = shape.transpose_b,
                     .out = wide_out.part(),
                     .mode = shape.mode,
                     .bias = shape.bias ? bias.view() : View{},
                     .scratch = scratch.view()},
                    stream);
    Tensor out = before;
    for (std::int64_t i = 0; i < shape.m; ++i) {
      for (std::int64_t j = 0; j < was.view().shape.cols; ++j) {
        const std::int64_t at = j - wide_out.first;
        if (at >= 0 && at < shape.n) {
          out.put(i, at, wide_out.whole.at(i, j));
        } else if (wide_out.whole.at(i, j) != was.at(i, j)) {
          ++spilled;
        }
      }
    }
    return out;
  }

  /// Largest error against fp64 in units of what rounding allows there.
  [[nodiscard]] double worst(const Tensor& out) const {
    double most = 0;
    for (std::int64_t i = 0; i < shape.m; ++i) {
      for (std::int64_t j = 0; j < shape.n; ++j) {
        double sum = shape.mode == Write::add ? before.at(i, j) : 0;
        if (shape.bias) sum += bias.at(0, j);
        double size = std::abs(sum);
        for (std::int64_t t = 0; t < shape.k; ++t) {
          const double product =
              element(a, i, t, shape.transpose_a) * element(b, t, j, shape.transpose_b);
          sum += product;
          size += std::abs(product);
        }
        const double allowed = 4e-7 * std::sqrt(static_cast<double>(shape.k)) * size +
                               test::half_ulp(shape.out) * std::abs(sum) + 1e-7;
        const double off = std::abs(out.at(i, j) - sum) / allowed;
        if (!(off <= most)) most = std::isnan(off) ? 1e9 : off;
      }
    }
    return most;
  }

  Case shape;
  Tensor a, b, bias, before;
};

constexpr std::array floats = {DType::f32, DType::bf16, DType::f16};

}  // namespace

TEST_CASE("matmul takes columns of wider matrices and leaves their neighbours alone") {
  for (const DType type : floats) {
    for (int bits = 0; bits < 16; ++bits) {
      for (const Shape size : {Shape{1, 70}, Shape{33, 20}, Shape{70, 600}}) {
        CAPTURE(name_of(type));
        CAPTURE(bits);
        CAPTURE(size.rows);
        Problem problem({size.rows, size.cols, 45, type, type, type,
                         (bits & 1) != 0 ? Transpose::yes : Transpose::no,
                         (bits & 2) != 0 ? Transpose::yes : Transpose::no,
                         (bits & 4) != 0 ? Write::add : Write::set, (bits & 8) != 0});
        std::int64_t spilled = 0;
        CHECK(problem.worst(problem.run_inside(1 + bits % 3, spilled)) < 1);
        CHECK(spilled == 0);
      }
    }
  }
}

TEST_CASE("matmul agrees with an fp64 product for every mix of types") {
  for (const DType a : floats) {
    for (const DType b : floats) {
      for (const DType out : floats) {
        CAPTURE(name_of(a));
        CAPTURE(name_of(b));
        CAPTURE(name_of(out));
        Problem problem({33, 259, 72, a, b, out});
        CHECK(problem.worst(problem.run(1)) < 1);
      }
    }
  }
}

TEST_CASE("matmul transposes adds and applies a bias at awkward sizes") {
  constexpr std::array<std::array<std::int64_t, 3>, 5> sizes = {
      {{1, 1, 1}, {7, 5, 3}, {33, 259, 72}, {65, 17, 1500}, {600, 800, 19}}};
  for (const auto& [m, n, k] : sizes) {
    for (const DType type : floats) {
      for (int bits = 0; bits < 16; ++bits) {
        Case c{m, n, k, type, type, (bits & 8) != 0 ? DType::f32 : type};
        if ((bits & 1) != 0) c.transpose_a = Transpose::yes;
        if ((bits & 2) != 0) c.transpose_b = Transpose::yes;
        c.bias = (bits & 4) != 0;
        c.mode = bits % 3 == 0 ? Write::add : Write::set;
        CAPTURE(m);
        CAPTURE(name_of(type));
        CAPTURE(bits);
        if (m == 600 && bits % 5 != 0) continue;  // the large one is slow to check
        Problem problem(c);
        CHECK(problem.worst(problem.run(1)) < 1);
      }
    }
  }
}

TEST_CASE("matmul gives the same bits with one two and three threads") {
  constexpr std::array<std::array<std::int64_t, 3>, 4> sizes = {
      {{33, 259, 72}, {256, 768, 600}, {64, 2304, 128}, {700, 900, 500}}};
  for (const auto& [m, n, k] : sizes) {
    for (const DType type : floats) {
      for (const Write mode : {Write::set, Write::add}) {
        Problem problem({m, n, k, type, type, type, Transpose::no, Transpose::yes, mode, true});
        const Tensor one = problem.run(1);
        CHECK(one == problem.run(2));
        CHECK(one == problem.run(3));
      }
    }
  }
}

TEST_CASE("matmul of 16-bit operands into fp32 equals the product of the widened ones") {
  Problem half({40, 70, 90, DType::bf16, DType::bf16, DType::f32});
  Problem wide({40, 70, 90, DType::f32, DType::f32, DType::f32});
  wide.a = half.a.as(DType::f32);
  wide.b = half.b.as(DType::f32);
  CHECK(half.run(2) == wide.run(2));
}

TEST_CASE("matmul widens and narrows every bit pattern as the element types do") {
  const Tensor one_by_one = Tensor({1, 1}, DType::f32, 1);
  one_by_one.view().as<float>()[0] = 1;
  device::Stream stream(1);
  constexpr std::int64_t count = 65536;
  Tensor scratch({1, 8 << 20}, DType::u8, 0), wide({1, count}, DType::f32, 0);
  for (const DType type : {DType::bf16, DType::f16}) {
    const Tensor all({1, count}, type, 0), back({1, count}, type, 0);
    for (std::int64_t i = 0; i < count; ++i) {
      all.view().as<std::uint16_t>()[i] = static_cast<std::uint16_t>(i);
    }
    MatmulArgs args{.a = one_by_one.view(), .b = all.view(), .out = wide.view()};
    args.scratch = scratch.view();
    kernels::matmul(args, stream);
    for (std::int64_t i = 0; i < count; ++i) {
      const double want = all.at(0, i), got = wide.at(0, i);
      if (got != want && !(std::isnan(got) && std::isnan(want))) FAIL("bits " << i);
    }
    // Values between two representable ones, near both ends and at every tie.
    for (const std::uint32_t low : {0u, 1u, 0xfffu, 0x1000u, 0x1001u, 0x7fffu, 0x8000u, 0x8001u}) {
      for (std::int64_t i = 0; i < count; ++i) {
        const std::uint32_t bits = static_cast<std::uint32_t>(i) << 16 | low;
        std::memcpy(wide.view().as<float>() + i, &bits, sizeof bits);
      }
      args.b = wide.view();
      args.out = back.view();
      kernels::matmul(args, stream);
      for (std::int64_t i = 0; i < count; ++i) {
        const float x = wide.view().as<float>()[i];
        const std::uint16_t got = back.view().as<std::uint16_t>()[i];
        const std::uint16_t want = type == DType::bf16 ? to_bfloat16(x).bits : to_float16(x).bits;
        if (std::isnan(x)) {
          if (!std::isnan(back.at(0, i))) FAIL("bits " << i << " low " << low);
          continue;
        }
        const int kind = std::fpclassify(x);  // a product may lose -0 and flush subnormals
        if (got != want && kind != FP_ZERO && kind != FP_SUBNORMAL) FAIL("bits " << i);
      }
    }
  }
}

TEST_CASE("matmul spreads non-finite values") {
  for (const DType type : floats) {
    Problem problem({5, 6, 7, type, type, type});
    problem.a.put(2, 3, std::nan(""));
    const Tensor out = problem.run(1);
    CHECK(std::isnan(out.at(2, 0)));
    CHECK(std::isfinite(out.at(1, 0)));
  }
}

TEST_CASE("matmul rounds stochastically with the random bits of each output element") {
  const Philox bits = philox(7, Purpose::gradient_rounding, {4});
  for (const std::int64_t n : {1, 6, 300, 801}) {
    Problem exact({19, n, 32, DType::bf16, DType::bf16, DType::f32});
    Problem rounded({19, n, 32, DType::bf16, DType::bf16, DType::bf16});
    const Tensor want = exact.run(1), got = rounded.run(2, &bits);
    for (std::int64_t i = 0; i < 19 * n; ++i) {
      const auto random = philox_u32(bits, static_cast<std::uint64_t>(i));
      const bfloat16 value = to_bfloat16_stochastic(want.view().as<float>()[i], random);
      CHECK(got.view().as<bfloat16>()[i].bits == value.bits);
    }
    CHECK(got == rounded.run(3, &bits));
  }
}

TEST_CASE("matmul rounds stochastically without bias") {
  Problem problem({16, 48, 32, DType::bf16, DType::bf16, DType::bf16});
  const Tensor target = Problem({16, 48, 32, DType::bf16, DType::bf16, DType::f32}).run(1);
  double error = 0, variance = 0;
  for (std::uint64_t round = 0; round < 200; ++round) {
    const Philox bits = philox(7, Purpose::gradient_rounding, {round});
    const Tensor out = problem.run(1, &bits);
    for (std::int64_t i = 0; i < 16 * 48; ++i) {
      const double off = (out.at(0, i) - target.at(0, i)) / std::abs(target.at(0, i));
      error += off;
      variance += off * off;
    }
  }
  CHECK(variance > 0);
  CHECK(std::abs(error) < 5 * std::sqrt(variance));
}

TEST_CASE("matmul rounds what was there and the product together") {
  Problem problem({5, 40, 16, DType::bf16, DType::bf16, DType::bf16});
  problem.shape.mode = Write::add;
  const Tensor product = Problem({5, 40, 16, DType::bf16, DType::bf16, DType::f32}).run(1);
  const Philox bits = philox(7, Purpose::gradient_rounding, {5});
  const Tensor got = problem.run(1, &bits);
  for (std::int64_t i = 0; i < 5 * 40; ++i) {
    const float sum =
        static_cast<float>(problem.before.at(0, i)) + static_cast<float>(product.at(0, i));
    const auto random = philox_u32(bits, static_cast<std::uint64_t>(i));
    CHECK(got.view().as<bfloat16>()[i].bits == to_bfloat16_stochastic(sum, random).bits);
  }
}

TEST_CASE("matmul scratch holds for every smaller product and stays in its bound") {
  for (const int threads : {1, 2, 16}) {
    const Target target{.threads = threads};
    const auto bound = 8 * mib + 4 * mib * static_cast<Bytes>(threads);
    const Bytes most = kernels::matmul_scratch(4096, 50304, 4096, DType::bf16, DType::bf16, target);
    CHECK(most <= bound);
    CHECK(most % 64 == 0);
    for (const std::int64_t size : {1, 17, 500, 513, 769, 3000}) {
      CHECK(kernels::matmul_scratch(size, size, size, DType::f16, DType::f16, target) <= most);
    }
    CHECK(kernels::matmul_scratch(511, 511, 511, DType::f32, DType::f32, target) == 0);
  }
}

TEST_CASE("matmul runs in scratch sized for the largest of several products") {
  for (const std::int64_t k : {1, 479, 481, 975}) {
    Problem small({20, 30, k, DType::bf16, DType::bf16, DType::bf16});
    const Target target{.threads = 1};
    CHECK(kernels::matmul_scratch(20, 30, k, DType::bf16, DType::bf16, target) <=
          kernels::matmul_scratch(21, 33, k + 1, DType::bf16, DType::bf16, target));
    CHECK(small.worst(small.run(1)) < 1);
  }
}

TEST_CASE("matmul crashes under the address sanitizer if any operand holds a forbidden byte") {
  if (!poison_works()) {
    MESSAGE("SKIP: built without the address sanitizer");
    return;
  }
  for (int forbidden = 0; forbidden < 4; ++forbidden) {
    const pid_t child = fork();
    if (child == 0) {
      dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
      device::Stream stream(1);
      const Tensor a({16, 16}, DType::f32, 1), b({16, 16}, DType::f32, 2);
      const Tensor out({16, 16}, DType::f32, 0);
      const std::array<View, 3> views = {a.view(), b.view(), out.view()};
      if (forbidden < 3) poison(views[static_cast<std::size_t>(forbidden)].raw().last(8));
      kernels::matmul({.a = views[0], .b = views[1], .out = views[2]}, stream);
      _exit(0);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    const bool clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    CHECK(clean == (forbidden == 3));
  }
}

TEST_CASE("matmul refuses wrong shapes types overlaps and too little scratch") {
  device::Stream stream(1);
  Tensor a({3, 4}, DType::f32, 1), b({4, 5}, DType::f32, 2), out({3, 5}, DType::f32, 3);
  Tensor wrong({5, 5}, DType::f32, 4), integers({4, 5}, DType::i32, 0);
  Tensor half({3, 5}, DType::bf16, 5);
  const Philox bits;
  CHECK_THROWS_AS(kernels::matmul({.a = a.view(), .b = wrong.view(), .out = out.view()}, stream),
                  UsageError);
  CHECK_THROWS_AS(kernels::matmul({.a = a.view(), .b = integers.view(), .out = out.view()}, stream),
                  UsageError);
  CHECK_THROWS_AS(kernels::matmul({.a = a.view(), .b = b.view(), .out = half.view()}, stream),
                  UsageError);
  CHECK_THROWS_AS(kernels::matmul({.a = a.view(), .b = b.view()}, stream), UsageError);
  CHECK_THROWS_AS(
      kernels::matmul({.a = a.view(), .b = b.view(), .out = out.view(), .bias = a.view()}, stream),
      UsageError);
  CHECK_THROWS_AS(
      kernels::matmul({.a = a.view(), .b = b.view(), .out = out.view(), .round = &bits}, stream),
      UsageError);
  CHECK_THROWS_AS(
      kernels::matmul({.a = wrong.view(), .b = wrong.view(), .out = wrong.view()}, stream),
      UsageError);
}

TEST_CASE("bias gradient sums columns in row order for any number of threads") {
  for (const DType type : floats) {
    for (const Write mode : {Write::set, Write::add}) {
      const Tensor d_out({33, 600}, type, 1);
      const Tensor before({1, 600}, DType::f32, 2);
      Tensor first;
      for (const int threads : {1, 2, 3}) {
        device::Stream stream(threads);
        Tensor to = before;
        kernels::bias_gradient({d_out.view(), {.to = to.view(), .mode = mode}}, stream);
        for (std::int64_t col = 0; col < 600; ++col) {
          float sum = 0;
          for (std::int64_t row = 0; row < 33; ++row) sum += static_cast<float>(d_out.at(row, col));
          if (mode == Write::add) sum += static_cast<float>(before.at(0, col));
          CHECK(to.at(0, col) == static_cast<double>(sum));
        }
        if (threads == 1) first = to;
        CHECK(to == first);
      }
    }
  }
}

TEST_CASE("bias gradient into bf16 rounds the final sum with the bits of its column") {
  const Tensor d_out({9, 300}, DType::bf16, 1);
  const Tensor before({1, 300}, DType::bf16, 2);
  const Philox bits = philox(3, Purpose::gradient_rounding, {1});
  device::Stream stream(2);
  Tensor to = before;
  kernels::bias_gradient({d_out.view(), {to.view(), Write::add, bits}}, stream);
  for (std::int64_t col = 0; col < 300; ++col) {
    float sum = 0;
    for (std::int64_t row = 0; row < 9; ++row) sum += static_cast<float>(d_out.at(row, col));
    sum += static_cast<float>(before.at(0, col));
    const auto element = static_cast<std::uint64_t>(col);
    const float rounded = to_float(to_bfloat16_stochastic(sum, philox_u32(bits, element)));
    CHECK(to.at(0, col) == static_cast<double>(rounded));
  }
}

TEST_CASE("matmul path names the library and how halves are widened") {
  CHECK(kernels::matmul_path(DType::f32).starts_with("oneDNN "));
  CHECK(kernels::matmul_path(DType::bf16).ends_with("panels widened to f32"));
}
