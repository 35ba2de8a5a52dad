#include "sherd/kernels/swiglu.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "kernels/array.hpp"
#include "sherd/base/errors.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

constexpr Shape shapes[] = {{1, 1}, {3, 7}, {5, 256}, {37, 771}, {0, 8}};  // of out

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double silu(double x) { return x * sigmoid(x); }
double silu_slope(double x) { return sigmoid(x) * (1 + x * (1 - sigmoid(x))); }

/// gate | up of element i of out.
struct Inputs {
  double gate, up;
};
Inputs inputs(const Array& gate_up, std::int64_t i, std::int64_t ffn) {
  const std::int64_t gate = i / ffn * 2 * ffn + i % ffn;
  return {gate_up[gate], gate_up[gate + ffn]};
}
bool close(double got, double want, DType type) {
  return std::abs(got - want) <= half_ulp(type) * std::abs(want) + 1e-5;
}

}  // namespace

TEST_CASE("swiglu equals its fp64 definition for every pair of types and awkward shapes") {
  device::Stream stream(2);
  for (const DType in : float_types) {
    for (const DType type : float_types) {
      for (const Shape shape : shapes) {
        Array gate_up({shape.rows, 2 * shape.cols}, in, noise(1, 8)), out(shape, type);
        kernels::swiglu(gate_up.view(), out.view(), stream);
        bool good = out.guarded();
        for (std::int64_t i = 0; i < shape.numel(); ++i) {
          const auto [gate, up] = inputs(gate_up, i, shape.cols);
          good = good && close(out[i], silu(gate) * up, type);
        }
        CHECK_MESSAGE(good, name_of(in) << " " << name_of(type) << " " << shape.cols);
      }
    }
  }
}

TEST_CASE("swiglu backward equals the fp64 derivative, in place too") {
  device::Stream stream(2);
  for (const DType type : float_types) {
    for (const Shape shape : shapes) {
      const Shape both{shape.rows, 2 * shape.cols};
      Array gate_up(both, type, noise(1, 8)), d_out(shape, type, noise(2)), d_gate_up(both, type);
      kernels::swiglu_backward(gate_up.view(), d_out.view(), d_gate_up.view(), stream);
      bool good = d_gate_up.guarded();
      for (std::int64_t i = 0; i < shape.numel(); ++i) {
        const auto [gate, up] = inputs(gate_up, i, shape.cols);
        const auto [d_gate, d_up] = inputs(d_gate_up, i, shape.cols);
        good = good && close(d_gate, d_out[i] * up * silu_slope(gate), type);
        good = good && close(d_up, d_out[i] * silu(gate), type);
      }
      CHECK_MESSAGE(good, name_of(type) << " " << shape.cols);
      kernels::swiglu_backward(gate_up.view(), d_out.view(), gate_up.view(), stream);
      CHECK(gate_up == d_gate_up);
    }
  }
}

TEST_CASE("swiglu's gate is shut far below zero and open far above") {
  device::Stream stream(1);
  constexpr double gates[] = {-1000, -90, 0, 90, 1000};
  Array gate_up({1, 10}, DType::f32, [&](std::int64_t i) { return i < 5 ? gates[i] : 2.0; });
  Array out({1, 5}, DType::f32), d_out({1, 5}, DType::f32, [](std::int64_t) { return 1.0; });
  kernels::swiglu(gate_up.view(), out.view(), stream);
  kernels::swiglu_backward(gate_up.view(), d_out.view(), gate_up.view(), stream);
  constexpr double want[] = {0, 0, 0, 180, 2000}, slope[] = {0, 0, 1, 2, 2};
  for (std::int64_t i = 0; i < 5; ++i) {
    CHECK(std::abs(out[i] - want[i]) < 1e-30);
    CHECK(std::abs(gate_up[i] - slope[i]) < 1e-30);
  }
}

TEST_CASE("swiglu refuses views that do not fit") {
  device::Stream stream(1);
  Array gate_up({2, 8}, DType::f32), out({2, 4}, DType::f32), odd({2, 5}, DType::f32);
  Array whole({2, 8}, DType::i32);
  CHECK_THROWS_AS(kernels::swiglu(gate_up.view(), odd.view(), stream), UsageError);
  CHECK_THROWS_AS(kernels::swiglu(whole.view(), out.view(), stream), UsageError);
  CHECK_THROWS_AS(kernels::swiglu(gate_up.view(), {}, stream), UsageError);
  CHECK_THROWS_AS(kernels::swiglu_backward(gate_up.view(), out.view(), out.view(), stream),
                  UsageError);
}
