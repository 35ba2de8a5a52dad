#include "sherd/kernels/norm_rms.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "kernels/array.hpp"
#include "sherd/base/errors.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

constexpr Shape shapes[] = {{1, 1}, {3, 7}, {33, 72}, {17, 256}, {5, 771}, {1100, 24}, {0, 8}};
constexpr double eps = 1e-5;

/// One problem with its forward pass run.
struct Problem {
  Problem(Shape shape, DType type)
      : rows(shape.rows),
        cols(shape.cols),
        in(shape, type, [](std::int64_t i) { return 1 + noise(1, 2)(i); }),
        d_out(shape, type, noise(2)),
        residual(shape, type, noise(3)),
        gain({1, shape.cols}, type, [](std::int64_t i) { return 1 + noise(4, 0.5)(i); }),
        out(shape, type),
        rstd({shape.rows, 1}, DType::f32) {}

  void forward(StreamRef stream) {
    kernels::rms_norm({in.view(), gain.view(), out.view(), rstd.view(), static_cast<float>(eps)},
                      stream);
  }
  kernels::RmsNormBackwardArgs backward(Array& d_in, Grad d_gain, Array& space) {
    return {.in = in.view(),
            .d_out = d_out.view(),
            .gain = gain.view(),
            .rstd = rstd.view(),
            .residual = {},
            .d_in = d_in.view(),
            .d_gain = d_gain,
            .scratch = space.view()};
  }
  [[nodiscard]] Array room() const {
    return scratch(kernels::rms_norm_backward_scratch(rows, cols, {}));
  }
  // 1 / sqrt(mean of squares), with element `nudged` moved by `by`.
  [[nodiscard]] double scale_of(std::int64_t row, std::int64_t nudged = -1, double by = 0) const {
    double mean = 0;
    for (std::int64_t i = row * cols; i < (row + 1) * cols; ++i) {
      mean += std::pow(in[i] + (i == nudged ? by : 0), 2) / static_cast<double>(cols);
    }
    return 1 / std::sqrt(mean + eps);
  }
  /// d_in in fp64, without the residual.
  [[nodiscard]] double d_in_reference(std::int64_t row, std::int64_t col) const {
    const double r = scale_of(row);
    double along = 0;
    for (std::int64_t c = 0; c < cols; ++c) {
      along += d_out[row * cols + c] * gain[c] * in[row * cols + c] / static_cast<double>(cols);
    }
    const std::int64_t i = row * cols + col;
    return r * d_out[i] * gain[col] - r * r * r * in[i] * along;
  }

  std::int64_t rows, cols;
  Array in, d_out, residual, gain, out, rstd;
};

}  // namespace

TEST_CASE("RMS norm equals its fp64 definition for every type and awkward shapes") {
  device::Stream stream(1);
  for (const DType type : float_types) {
    for (const Shape shape : shapes) {
      Problem p(shape, type);
      p.forward(stream);
      bool good = p.out.guarded() && p.rstd.guarded();
      for (std::int64_t r = 0; r < p.rows; ++r) {
        const double want = p.scale_of(r);
        good = good && std::abs(p.rstd[r] / want - 1) < 4e-6;
        for (std::int64_t c = 0; c < p.cols; ++c) {
          const double y = p.in[r * p.cols + c] * want * p.gain[c];
          good = good && std::abs(p.out[r * p.cols + c] - y) <= half_ulp(type) * std::abs(y) + 1e-5;
        }
      }
      CHECK_MESSAGE(good, name_of(type) << " " << shape.rows << "x" << shape.cols);
      const Array first = p.out;
      kernels::rms_norm(
          {p.in.view(), p.gain.view(), p.in.view(), p.rstd.view(), static_cast<float>(eps)},
          stream);
      CHECK(p.in == first);
    }
  }
}

TEST_CASE("RMS norm backward equals fp64 sums for every type and awkward shapes") {
  device::Stream stream(1);
  for (const DType type : float_types) {
    for (const Shape shape : shapes) {
      Problem p(shape, type);
      p.forward(stream);
      Array d_in(shape, type), d_gain({1, p.cols}, DType::f32), space = p.room();
      kernels::rms_norm_backward(p.backward(d_in, {d_gain.view()}, space), stream);
      bool good = d_in.guarded() && space.guarded();
      for (std::int64_t c = 0; c < p.cols; ++c) {
        double sum = 0;
        for (std::int64_t r = 0; r < p.rows; ++r) {
          sum += p.d_out[r * p.cols + c] * p.in[r * p.cols + c] * p.scale_of(r);
          if (r > 20) continue;  // the reference is quadratic in cols
          const double want = p.d_in_reference(r, c);
          good = good &&
                 std::abs(d_in[r * p.cols + c] - want) <= half_ulp(type) * std::abs(want) + 2e-5;
        }
        good = good && std::abs(d_gain[c] - sum) < 1e-4;
      }
      CHECK_MESSAGE(good, name_of(type) << " " << shape.rows << "x" << shape.cols);
    }
  }
}

TEST_CASE("RMS norm backward equals a central difference of the fp64 forward pass") {
  device::Stream stream(1);
  Problem p({2, 19}, DType::f32);
  p.forward(stream);
  Array d_in({2, 19}, DType::f32), d_gain({1, 19}, DType::f32), space = p.room();
  kernels::rms_norm_backward(p.backward(d_in, {d_gain.view()}, space), stream);
  const auto loss = [&](std::int64_t nudged, double by) {
    double sum = 0;
    const std::int64_t row = nudged / 19;
    const double scale = p.scale_of(row, nudged, by);
    for (std::int64_t i = row * 19; i < (row + 1) * 19; ++i) {
      sum += p.d_out[i] * (p.in[i] + (i == nudged ? by : 0)) * scale * p.gain[i % 19];
    }
    return sum;
  };
  for (std::int64_t i = 0; i < 38; ++i) {
    CHECK(std::abs(d_in[i] - (loss(i, 1e-5) - loss(i, -1e-5)) / 2e-5) < 1e-5);
  }
}

TEST_CASE("RMS norm backward adds the residual and may overwrite it or d_out") {
  device::Stream stream(1);
  for (const DType type : float_types) {
    Problem p({33, 331}, type);
    p.forward(stream);
    Array space = p.room(), d_in({33, 331}, type), gain({1, 331}, DType::f32);
    auto args = p.backward(d_in, {gain.view()}, space);
    args.residual = p.residual.view();
    kernels::rms_norm_backward(args, stream);
    for (std::int64_t c = 0; c < 331; ++c) {
      const double want = p.d_in_reference(7, c) + p.residual[7 * 331 + c];
      REQUIRE(std::abs(d_in[7 * 331 + c] - want) <= half_ulp(type) * std::abs(want) + 2e-5);
    }
    Array again({1, 331}, DType::f32), kept = p.d_out;
    args = p.backward(p.d_out, {again.view()}, space);
    args.residual = p.residual.view();
    kernels::rms_norm_backward(args, stream);
    CHECK(p.d_out == d_in);
    CHECK(again == gain);
    args = p.backward(p.residual, {again.view()}, space);
    args.d_out = kept.view();
    args.residual = p.residual.view();
    kernels::rms_norm_backward(args, stream);
    CHECK(p.residual == d_in);
  }
}

TEST_CASE("RMS norm gradients accumulate, round to bf16 by element bits, and may be left out") {
  device::Stream stream(1);
  Problem p({65, 300}, DType::f32);
  p.forward(stream);
  Array space = p.room(), set({1, 300}, DType::f32), d_in({65, 300}, DType::f32), same = d_in;
  kernels::rms_norm_backward(p.backward(d_in, {set.view()}, space), stream);
  kernels::rms_norm_backward(p.backward(same, {}, space), stream);
  CHECK(same == d_in);
  Array added({1, 300}, DType::f32, noise(8)), before = added;
  auto args = p.backward(d_in, {added.view(), Write::add}, space);
  args.d_in = {};
  kernels::rms_norm_backward(args, stream);
  const Philox bits = philox(2, Purpose::gradient_rounding, {7});
  Array rounded({1, 300}, DType::bf16, noise(8)), coarse = rounded;
  args.d_gain = {rounded.view(), Write::add, bits};
  kernels::rms_norm_backward(args, stream);
  for (std::int64_t c = 0; c < 300; ++c) {
    const auto sum = static_cast<float>(set[c]);
    CHECK(added[c] == static_cast<double>(static_cast<float>(before[c]) + sum));
    const auto word = philox_u32(bits, static_cast<std::uint64_t>(c));
    const float total = static_cast<float>(coarse[c]) + sum;
    CHECK(rounded[c] == static_cast<double>(to_float(to_bfloat16_stochastic(total, word))));
  }
}

TEST_CASE("RMS norm refuses statistics, gradients and scratch that do not fit") {
  device::Stream stream(1);
  Problem p({4, 8}, DType::f32);
  Array d_in({4, 8}, DType::f32), wrong({1, 7}, DType::f32), tiny({1, 1}, DType::f32);
  Array right({1, 8}, DType::f32), space = p.room();
  kernels::RmsNormArgs forward{p.in.view(), p.gain.view(), p.out.view(), right.view()};
  CHECK_THROWS_AS(kernels::rms_norm(forward, stream), UsageError);
  auto args = p.backward(d_in, {wrong.view()}, space);
  CHECK_THROWS_AS(kernels::rms_norm_backward(args, stream), UsageError);
  args = p.backward(d_in, {right.view()}, tiny);
  CHECK_THROWS_AS(kernels::rms_norm_backward(args, stream), UsageError);
}
