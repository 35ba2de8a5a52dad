// Kernels whose sums are in another order than the CPU's, run on the host with threads as fibers.
#include <doctest/doctest.h>

#include <limits>
#include <utility>
#include <vector>

#include "kernels/tensor.hpp"
#include "kernels/twins.hpp"
#include "sherd/kernels/exact_sum_math.hpp"
#include "support/host_cuda/host_driver.hpp"

namespace sherd {
namespace {

using test::Tensor;

double largest_gap(const Tensor& a, const Tensor& b, std::int64_t numel) {
  double gap = 0;
  for (std::int64_t i = 0; i < numel; ++i) gap = std::max(gap, std::abs(a.at(0, i) - b.at(0, i)));
  return gap;
}
/// Of values of magnitude up to 8: two steps of the type.
double steps_of(DType type) { return 16 * test::half_ulp(type) + 3e-5; }

/// A layer norm's operands and results, forward and backward.
struct Norm {
  Shape shape;
  DType type;
  Tensor in{shape, type, 1, 2}, gamma{{1, shape.cols}, DType::f32, 2},
      beta{{1, shape.cols}, type, 3};
  Tensor out{shape, type, 0}, mean{{shape.rows, 1}, DType::f32, 0}, rstd{mean};
  Tensor d_out{shape, type, 4}, residual{shape, DType::f32, 5}, d_in{shape, type, 0};
  Tensor d_gamma{{1, shape.cols}, DType::f32, 6}, d_beta{{1, shape.cols}, DType::f32, 7};

  [[nodiscard]] kernels::LayerNormArgs forward() const {
    return {in.view(), gamma.view(), beta.view(), out.view(), mean.view(), rstd.view()};
  }
  [[nodiscard]] kernels::LayerNormBackwardArgs backward(std::vector<std::byte>& scratch,
                                                        bool in_place, Write mode) const {
    return {.in = in.view(),
            .d_out = d_out.view(),
            .gamma = gamma.view(),
            .mean = mean.view(),
            .rstd = rstd.view(),
            .residual = in_place ? View{} : residual.view(),
            .d_in = in_place ? d_out.view() : d_in.view(),
            .d_gamma = {d_gamma.view(), mode, {}},
            .d_beta = {d_beta.view(), mode, {}},
            .scratch = {scratch.data(), {1, std::ssize(scratch)}, DType::u8}};
  }
  [[nodiscard]] std::vector<std::byte> scratch(DeviceKind kind) const {
    const Bytes size = kernels::layer_norm_backward_scratch(shape.rows, shape.cols, {.kind = kind});
    return std::vector<std::byte>(size, std::byte{0xff});  // NaN where nothing was written
  }
};

constexpr Shape norm_shapes[] = {{5, 13},    {9, 768},  {3, 1600}, {2, 2056},
                                 {1200, 24}, {3, 4200}, {1, 17000}};

/// Logits in rows of `pitch`, as a device has them.
struct Logits {
  std::int64_t rows, cols, pitch;
  [[nodiscard]] View view(const Tensor& wide) const {
    return {wide.view().data, {rows, cols}, wide.view().type, pitch};
  }
};

}  // namespace

TEST_CASE("layer norm agrees with the CPU for rows of any length") {
  test::Streams on;
  for (const Shape& shape : norm_shapes) {
    for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
      CAPTURE(shape.cols);
      Norm device{shape, type}, cpu{shape, type};
      cuda::layer_norm(device.forward(), on.device);
      kernels::layer_norm(cpu.forward(), on.cpu);
      CHECK(largest_gap(device.mean, cpu.mean, shape.rows) < 3e-6);
      CHECK(largest_gap(device.rstd, cpu.rstd, shape.rows) < 1e-5);
      CHECK(largest_gap(device.out, cpu.out, shape.numel()) <= steps_of(type));
    }
  }
}

TEST_CASE("layer norm's backward agrees with the CPU in place, with a residual and in both modes") {
  test::Streams on;
  for (const Shape& shape : norm_shapes) {
    for (const bool in_place : {false, true}) {
      const DType type = in_place ? DType::bf16 : DType::f32;
      const Write mode = in_place ? Write::set : Write::add;
      CAPTURE(shape.cols);
      Norm device{shape, type}, cpu{shape, type};
      for (Norm* norm : {&device, &cpu}) kernels::layer_norm(norm->forward(), on.cpu);
      auto scratch = device.scratch(DeviceKind::cuda), cpu_scratch = cpu.scratch(DeviceKind::cpu);
      cuda::layer_norm_backward(device.backward(scratch, in_place, mode), on.device);
      kernels::layer_norm_backward(cpu.backward(cpu_scratch, in_place, mode), on.cpu);
      CHECK(largest_gap(device.d_in, cpu.d_in, shape.numel()) <= steps_of(type));
      CHECK(largest_gap(device.d_out, cpu.d_out, shape.numel()) <= steps_of(type));
      CHECK(largest_gap(device.d_gamma, cpu.d_gamma, shape.cols) < 1e-3);
      CHECK(largest_gap(device.d_beta, cpu.d_beta, shape.cols) < 1e-3);
    }
  }
}

TEST_CASE("cross-entropy agrees with the CPU and clears the columns behind the last") {
  test::Streams on;
  for (const Logits& at : {Logits{5, 11, 11}, Logits{7, 300, 320}, Logits{3, 50257, 50304}}) {
    for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
      const bool in_place = type == DType::f32;
      CAPTURE(at.cols);
      Tensor wide({at.rows, at.pitch}, DType::f32, 1, 4), plain({at.rows, at.cols}, DType::f32, 0);
      Tensor gradient({at.rows, at.pitch}, type, 3);
      std::vector<std::int32_t> labels;
      for (std::int64_t row = 0; row < at.rows; ++row) {
        labels.push_back(static_cast<std::int32_t>(row * 7919 % at.cols));
        for (std::int64_t i = 0; i < at.cols; ++i) plain.put(row, i, wide.at(row, i));
      }
      labels[2] = kernels::ignored_label;
      const float scale = 128;
      kernels::LossSum device{}, cpu{};
      const View named{reinterpret_cast<std::byte*>(labels.data()), {at.rows, 1}, DType::i32};
      cuda::cross_entropy(
          {at.view(wide), named, &scale, 12, &device, in_place ? View{} : at.view(gradient)},
          on.device);
      kernels::cross_entropy({plain.view(), named, &scale, 12, &cpu}, on.cpu);
      CHECK(device.tokens == at.rows - 1);
      CHECK(kernels::exact_value(device.loss) ==
            doctest::Approx(kernels::exact_value(cpu.loss)).epsilon(1e-6));
      const Tensor& found = in_place ? wide : gradient;
      bool close = true, clear = true;
      for (std::int64_t i = 0; i < at.rows * at.pitch; ++i) {
        const std::int64_t row = i / at.pitch, col = i % at.pitch;
        const double wanted = col < at.cols ? plain.at(row, col) : 0;
        const double error = std::abs(found.at(row, col) - wanted);
        close = close && error <= 1e-5 + (test::half_ulp(type) + 1e-5) * std::abs(wanted);
        clear = clear && (col < at.cols || found.at(row, col) == 0);
      }
      CHECK(close);
      CHECK(clear);
    }
  }
}

TEST_CASE("a loss alone leaves the logits as they are, and a bad logit is counted as not finite") {
  test::Streams on;
  Tensor logits({4, 40}, DType::f32, 1);
  const Tensor before(logits);
  std::vector<std::int32_t> labels{3, 0, 39, 7};
  const View named{reinterpret_cast<std::byte*>(labels.data()), {4, 1}, DType::i32};
  kernels::LossSum sums{};
  cuda::cross_entropy({.logits = logits.view(), .labels = named, .sums = &sums}, on.device);
  CHECK(logits == before);
  CHECK(sums.tokens == 4);
  CHECK(sums.nonfinite == 0);
  logits.put(1, 9, std::numeric_limits<double>::quiet_NaN());
  logits.put(3, 7, std::numeric_limits<double>::infinity());
  cuda::cross_entropy({.logits = logits.view(), .labels = named, .sums = &sums}, on.device);
  CHECK(sums.nonfinite == 2);
}

TEST_CASE("a squared error has the CPU's gradient, where d_out is the target too") {
  test::Streams on;
  for (const Shape& shape : {Shape{1, 1}, Shape{19, 5}, Shape{3, 100}}) {
    const Tensor out(shape, DType::f32, 1);
    Tensor device(shape, DType::f32, 2);
    if (shape.rows > 1) device.put(1, 0, std::numeric_limits<double>::quiet_NaN());
    Tensor cpu(device);
    const float scale = 4;
    kernels::LossSum found{}, wanted{};
    cuda::squared_error({out.view(), device.view(), device.view(), &scale, 3, &found}, on.device);
    kernels::squared_error({out.view(), cpu.view(), cpu.view(), &scale, 3, &wanted}, on.cpu);
    CHECK(device == cpu);
    CHECK(found.tokens == wanted.tokens);
    CHECK(kernels::exact_value(found.loss) ==
          doctest::Approx(kernels::exact_value(wanted.loss)).epsilon(1e-12));
  }
}

}  // namespace sherd
