#include "sherd/kernels/attention.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "kernels/attention_reference.hpp"
#include "kernels/tensor.hpp"
#include "sherd/base/errors.hpp"

using namespace sherd;
using kernels::AttentionShape;
using test::Matrix;
using test::Tensor;

namespace {

Matrix values(const Tensor& x) {
  const std::int64_t count = x.view().numel();
  Matrix all(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) all[static_cast<std::size_t>(i)] = x.at(0, i);
  return all;
}

struct Run {
  Run(const AttentionShape& of, DType type)
      : shape(of),
        qkv({of.sequences * of.length, of.qkv_width()}, type, 1),
        out({of.sequences * of.length, of.width()}, type, 2),
        lse({of.sequences * of.heads, of.length}, DType::f32, 3),
        d_out({of.sequences * of.length, of.width()}, type, 4),
        d_qkv({of.sequences * of.length, of.qkv_width()}, type, 5) {}

  void forward(int threads) {
    device::Stream stream(threads);
    const Tensor scratch = room(kernels::attention_scratch(shape, {.threads = threads}));
    kernels::attention({shape, qkv.view(), out.view(), lse.view(), scratch.view()}, stream);
  }
  void backward(int threads) {
    device::Stream stream(threads);
    const Tensor scratch = room(kernels::attention_backward_scratch(shape, {.threads = threads}));
    kernels::attention_backward(
        {shape, qkv.view(), out.view(), lse.view(), d_out.view(), d_qkv.view(), scratch.view()},
        stream);
  }
  static Tensor room(Bytes bytes) { return {{1, static_cast<std::int64_t>(bytes)}, DType::u8, 0}; }
  [[nodiscard]] test::AttentionReference reference() const { return {shape, values(qkv)}; }

  AttentionShape shape;
  Tensor qkv, out, lse, d_out, d_qkv;
};

double worst(const Tensor& got, const Matrix& want) {
  double most = 0;
  const Matrix have = values(got);
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double off = std::abs(have[i] - want[i]);
    if (!(off <= most)) most = std::isnan(off) ? 1e9 : off;
  }
  return most;
}

// Rounding of results of magnitude about 4; a 16-bit `out` also enters the gradient.
double allowed(DType type) { return type == DType::f32 ? 2e-5 : 16 * test::half_ulp(type); }

constexpr std::array floats = {DType::f32, DType::bf16, DType::f16};
constexpr std::array shapes = {AttentionShape{2, 33, 3, 24},    AttentionShape{1, 1, 1, 1},
                               AttentionShape{3, 1, 2, 5},      AttentionShape{1, 64, 2, 16},
                               AttentionShape{1, 65, 1, 7},     AttentionShape{2, 200, 1, 64},
                               AttentionShape{2, 70, 6, 20, 2}, AttentionShape{1, 33, 5, 8, 1},
                               AttentionShape{2, 129, 4, 16, 2}};

}  // namespace

TEST_CASE("attention agrees with the definition in fp64") {
  for (const AttentionShape& shape : shapes) {
    for (const DType type : floats) {
      CAPTURE(shape.length);
      CAPTURE(name_of(type));
      Run run(shape, type);
      run.forward(2);
      Matrix out, lse;
      run.reference().forward(out, lse);
      CHECK(worst(run.out, out) < allowed(type) / 4);
      CHECK(worst(run.lse, lse) < 2e-5);
    }
  }
}

TEST_CASE("attention backward agrees with the derivative of the definition in fp64") {
  for (const AttentionShape& shape : shapes) {
    for (const DType type : floats) {
      CAPTURE(shape.length);
      CAPTURE(name_of(type));
      Run run(shape, type);
      run.forward(1);
      run.backward(2);
      CHECK(worst(run.d_qkv, run.reference().backward(values(run.d_out))) < allowed(type));
    }
  }
}

TEST_CASE("attention backward agrees with finite differences of the definition") {
  Run run({1, 5, 2, 3}, DType::f32);
  run.forward(1);
  run.backward(1);
  const Matrix weight = values(run.d_out);
  test::AttentionReference reference = run.reference();
  const auto loss = [&] {
    Matrix out, lse;
    reference.forward(out, lse);
    double sum = 0;
    for (std::size_t i = 0; i < out.size(); ++i) sum += out[i] * weight[i];
    return sum;
  };
  Matrix slope(reference.qkv.size());
  for (std::size_t i = 0; i < slope.size(); ++i) {
    constexpr double step = 1e-5;
    const double value = reference.qkv[i];
    reference.qkv[i] = value + step;
    const double above = loss();
    reference.qkv[i] = value - step;
    slope[i] = (above - loss()) / (2 * step);
    reference.qkv[i] = value;
  }
  CHECK(worst(run.d_qkv, slope) < 1e-5);
}

TEST_CASE("attention gives the same bits with one two and three threads") {
  for (const AttentionShape& shape :
       {AttentionShape{2, 130, 3, 24}, AttentionShape{2, 130, 6, 24, 3}}) {
    for (const DType type : floats) {
      Run one(shape, type);
      one.forward(1);
      one.backward(1);
      for (const int threads : {2, 3}) {
        Run more(shape, type);
        more.forward(threads);
        more.backward(threads);
        CHECK(one.out == more.out);
        CHECK(one.lse == more.lse);
        CHECK(one.d_qkv == more.d_qkv);
      }
    }
  }
}

TEST_CASE("attention of a group equals that of heads whose keys and values are copies") {
  Run grouped({2, 70, 6, 16, 2}, DType::f32), full({2, 70, 6, 16}, DType::f32);
  full.d_out = grouped.d_out;
  const test::AttentionReference at = grouped.reference(), to = full.reference();
  for (std::int64_t row = 0; row < 140; ++row) {
    for (std::int64_t col = 0; col < 96; ++col) {
      for (const int part : {0, 1, 2}) {
        full.qkv.put(0, static_cast<std::int64_t>(to.place(part, row, col)),
                     at.part(part, row, col));
      }
    }
  }
  for (Run* run : {&grouped, &full}) {
    run->forward(2);
    run->backward(2);
  }
  CHECK(grouped.out == full.out);
  CHECK(grouped.lse == full.lse);
  Matrix sums(static_cast<std::size_t>(140 * 160));
  for (std::int64_t row = 0; row < 140; ++row) {
    for (std::int64_t col = 0; col < 96; ++col) {
      for (const int part : {0, 1, 2}) {
        sums[at.place(part, row, col)] +=
            full.d_qkv.at(0, static_cast<std::int64_t>(to.place(part, row, col)));
      }
    }
  }
  CHECK(worst(grouped.d_qkv, sums) < 1e-5);
}

TEST_CASE("attention gives a sequence the same bits alone and in a batch") {
  Run batch({2, 70, 2, 8}, DType::f32), alone({1, 70, 2, 8}, DType::f32);
  const View second = batch.qkv.view().rows(70, 70);
  std::copy_n(second.data, second.bytes(), alone.qkv.view().data);
  batch.forward(2);
  alone.forward(1);
  const View out = batch.out.view().rows(70, 70);
  CHECK(std::equal(out.data, out.data + out.bytes(), alone.out.view().data));
}

TEST_CASE("attention withstands scores whose exponentials overflow") {
  Run run({1, 100, 1, 4}, DType::f32);
  for (std::int64_t i = 0; i < 100 * 12; ++i) run.qkv.put(0, i, run.qkv.at(0, i) * 30);
  run.forward(1);
  Matrix out, lse;
  run.reference().forward(out, lse);
  CHECK(worst(run.out, out) < 1e-2);
  CHECK(worst(run.lse, lse) < 1e-2);
}

TEST_CASE("attention spreads a broken value instead of hiding it") {
  for (const int part : {0, 1, 2}) {
    Run run({1, 70, 1, 4}, DType::f32);
    run.qkv.put(66, part * 4, std::nan(""));
    run.forward(1);
    run.backward(1);
    CHECK(std::isnan(run.out.at(66, 0)));
    CHECK(std::isfinite(run.out.at(63, 0)));  // an earlier tile
    CHECK(std::isnan(run.d_qkv.at(66, 4)));
    CHECK_FALSE(std::isfinite(run.d_qkv.at(66, 0)));
  }
}

TEST_CASE("attention scratch grows linearly with the length") {
  const Target target{.threads = 2};
  CHECK(kernels::attention_scratch({1, 8192, 12, 64}, target) ==
        kernels::attention_scratch({4, 64, 3, 64}, target));
  CHECK(kernels::attention_backward_scratch({1, 16384, 12, 64}, target) <
        2 * kernels::attention_backward_scratch({1, 8192, 12, 64}, target));
}

TEST_CASE("attention refuses wrong shapes types and too little scratch") {
  Run run({2, 5, 2, 3}, DType::f32);
  device::Stream stream(1);
  const Tensor scratch = Run::room(kernels::attention_scratch(run.shape, {.threads = 1}));
  const Tensor small = Run::room(64);
  using Args = kernels::AttentionArgs;
  const Args good{run.shape, run.qkv.view(), run.out.view(), run.lse.view(), scratch.view()};
  Args bad = good;
  bad.scratch = small.view();
  CHECK_THROWS_AS(kernels::attention(bad, stream), UsageError);
  bad = good;
  bad.out = run.qkv.view();
  CHECK_THROWS_AS(kernels::attention(bad, stream), UsageError);
  bad = good;
  bad.lse = {};
  CHECK_THROWS_AS(kernels::attention(bad, stream), UsageError);
  bad = good;
  bad.shape.heads = 0;
  CHECK_THROWS_AS(kernels::attention(bad, stream), UsageError);
  bad = good;
  bad.shape.kv_heads = 3;
  CHECK_THROWS_AS(kernels::attention(bad, stream), UsageError);
  kernels::attention(good, stream);
}
