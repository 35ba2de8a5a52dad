#include "sherd/kernels/cross_entropy.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "kernels/array.hpp"
#include "sherd/base/errors.hpp"

using namespace sherd;
using namespace sherd::test;
using kernels::ignored_label;
using kernels::LossSum;

namespace {

/// -log softmax(x)[label] of one row, in fp64.
double row_loss(const std::vector<double>& x, std::int64_t label) {
  double top = x[0], sum = 0;
  for (const double v : x) top = std::max(top, v);
  for (const double v : x) sum += std::exp(v - top);
  return std::log(sum) + top - x[static_cast<std::size_t>(label)];
}
std::vector<double> row_of(const Array& a, std::int64_t row, std::int64_t cols) {
  std::vector<double> x;
  for (std::int64_t c = 0; c < cols; ++c) x.push_back(a[row * cols + c]);
  return x;
}
Array some_labels(std::int64_t rows, std::int64_t cols) {
  return {{rows, 1}, DType::i32, [=](std::int64_t i) {
            if (i % 7 == 3) return static_cast<double>(ignored_label);
            return static_cast<double>(philox_u32({2, 2}, static_cast<std::uint64_t>(i)) %
                                       static_cast<std::uint32_t>(cols));
          }};
}

}  // namespace

TEST_CASE("cross entropy gives the fp64 loss and the softmax gradient, for awkward shapes") {
  device::Stream stream(1);
  const float scale = 512;
  for (const Shape shape : {Shape{1, 1}, {3, 2}, {33, 259}, {10, 1023}, {600, 16}, {0, 9}}) {
    Array logits(shape, DType::f32, noise(1, 8)), labels = some_labels(shape.rows, shape.cols);
    const Array before = logits;
    LossSum sums;
    kernels::cross_entropy({logits.view(), labels.view(), &scale, 50, &sums}, stream);
    double loss = 0;
    std::int64_t tokens = 0;
    bool good = logits.guarded();
    for (std::int64_t r = 0; r < shape.rows; ++r) {
      const auto label = static_cast<std::int64_t>(labels[r]);
      const std::vector<double> x = row_of(before, r, shape.cols);
      if (label != ignored_label) loss += row_loss(x, label);
      tokens += label != ignored_label ? 1 : 0;
      for (std::int64_t c = 0; c < shape.cols; ++c) {
        double want = 0;
        if (label != ignored_label)
          want = (std::exp(-row_loss(x, c)) - (c == label ? 1 : 0)) * 512 / 50;
        good = good && std::abs(logits[r * shape.cols + c] - want) < 1e-5;
      }
    }
    CHECK_MESSAGE(good, shape.rows << "x" << shape.cols);
    CHECK(std::abs(sums.loss.value() - loss) < 1e-6 * (1 + loss));
    CHECK(sums.tokens == tokens);
    CHECK(sums.nonfinite == 0);
  }
}

TEST_CASE("cross entropy gradient equals a central difference of the fp64 loss") {
  device::Stream stream(1);
  const float scale = 1;
  Array logits({1, 37}, DType::f32, noise(1, 3)), label({1, 1}, DType::i32, [](auto) { return 5; });
  const std::vector<double> x = row_of(logits, 0, 37);
  kernels::cross_entropy({logits.view(), label.view(), &scale, 1, nullptr}, stream);
  for (std::size_t c = 0; c < 37; ++c) {
    std::vector<double> up = x, down = x;
    up[c] += 1e-5;
    down[c] -= 1e-5;
    const double slope = (row_loss(up, 5) - row_loss(down, 5)) / 2e-5;
    CHECK(std::abs(logits[static_cast<std::int64_t>(c)] - slope) < 1e-6);
  }
}

TEST_CASE("cross entropy of a chunk adds one term, the same with and without the gradient") {
  device::Stream stream(1);
  const float scale = 3;
  Array logits({700, 90}, DType::f32, noise(1, 4)), labels = some_labels(700, 90), copy = logits;
  LossSum with, without;
  kernels::cross_entropy({logits.view(), labels.view(), &scale, 2, &with}, stream);
  kernels::cross_entropy({copy.view(), labels.view(), nullptr, 2, &without}, stream);
  CHECK(with.loss.limb == without.loss.limb);
  kernels::ExactSum once;
  once.add(with.loss.value());
  CHECK(once.limb == with.loss.limb);
}

TEST_CASE("cross entropy survives logits far apart and far from zero") {
  device::Stream stream(1);
  const float scale = 1;
  Array logits({2, 3}, DType::f32, [](std::int64_t i) {
    return std::vector<double>{1e30, -1e30, 0, -3000, -3001, -5000}[static_cast<std::size_t>(i)];
  });
  Array labels({2, 1}, DType::i32, [](auto) { return 0; });
  LossSum sums;
  kernels::cross_entropy({logits.view(), labels.view(), &scale, 1, &sums}, stream);
  CHECK(std::abs(sums.loss.value() - std::log1p(std::exp(-1.0))) < 1e-7);
  CHECK(logits[0] == 0);
  CHECK(logits[1] == 0);
  CHECK(std::abs(logits[3] + 1 / (1 + std::exp(1.0))) < 1e-6);
}

TEST_CASE("cross entropy counts a chunk whose loss is not finite and adds nothing") {
  device::Stream stream(1);
  const float scale = 1;
  for (const double bad : {HUGE_VAL, -HUGE_VAL, std::nan("")}) {
    for (const std::int64_t at : {0, 17, 52, 39}) {
      Array logits({3, 20}, DType::f32, noise(1)),
          labels({3, 1}, DType::i32, [](auto) { return 19; });
      logits.set(at, bad);
      LossSum sums;
      kernels::cross_entropy({logits.view(), labels.view(), &scale, 1, &sums}, stream);
      const bool harmless = bad == -HUGE_VAL && at != 39;  // a zero probability of another token
      CHECK(sums.nonfinite == (harmless ? 0 : 1));
      CHECK((sums.loss.value() == 0) == !harmless);
      CHECK(sums.tokens == 3);
    }
  }
}

TEST_CASE("cross entropy refuses labels outside the vocabulary and changes nothing") {
  device::Stream stream(1);
  const float scale = 1;
  for (const double label : {-1.0, 20.0, -101.0}) {
    Array logits({2, 20}, DType::f32, noise(1)), before = logits;
    Array labels({2, 1}, DType::i32, [=](std::int64_t i) { return i == 1 ? label : 0; });
    LossSum sums;
    CHECK_THROWS_AS(
        kernels::cross_entropy({logits.view(), labels.view(), &scale, 1, &sums}, stream),
        UsageError);
    CHECK(logits == before);
    CHECK(sums.tokens == 0);
  }
}

TEST_CASE("squared error gives half the sum of squares and its gradient, skipping masked rows") {
  device::Stream stream(1);
  const float scale = 8;
  Array out({33, 5}, DType::f32, noise(1)), target({33, 5}, DType::f32, noise(2));
  target.set(4 * 5, std::nan(""));
  Array d_out({33, 5}, DType::f32);
  LossSum sums;
  kernels::squared_error({out.view(), target.view(), d_out.view(), &scale, 4, &sums}, stream);
  double loss = 0;
  for (std::int64_t i = 0; i < 165; ++i) {
    const bool masked = i / 5 == 4;
    const double gap = masked ? 0 : out[i] - target[i];
    loss += gap * gap / 2;
    CHECK(std::abs(d_out[i] - 2 * gap) < 1e-6);
  }
  CHECK(std::abs(sums.loss.value() - loss) < 1e-12);
  CHECK(sums.tokens == 32);
  out.set(7, HUGE_VAL);
  LossSum bad;
  kernels::squared_error({out.view(), target.view(), {}, nullptr, 4, &bad}, stream);
  CHECK(bad.nonfinite == 1);
  CHECK(bad.loss.value() == 0);
}
