#include "sherd/kernels/update.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "kernels/array.hpp"
#include "sherd/base/errors.hpp"

using namespace sherd;
using namespace sherd::test;
using kernels::UpdateArgs;
using kernels::UpdateScalars;

namespace {

constexpr std::int64_t sizes[] = {0, 1, 255, 256, 257, 33 * 72, 40000};

/// The state of one optimizer and its fp64 twin.
struct State {
  State(std::int64_t n, DType grad_type, DType param_type)
      : master({1, n}, DType::f32, noise(1)),
        m({1, n}, DType::f32, [](auto) { return 0; }),
        v({1, n}, DType::f32, [](auto) { return 0; }),
        grad({1, n}, grad_type),
        param({1, n}, param_type),
        p64(static_cast<std::size_t>(n)),
        m64(p64),
        v64(p64) {
    for (std::int64_t i = 0; i < n; ++i) p64[static_cast<std::size_t>(i)] = master[i];
  }
  UpdateArgs args(const UpdateScalars& scalars) {
    return {.grad = grad.view(),
            .master = master.view(),
            .m = m.view(),
            .v = v.view(),
            .param = param.view(),
            .weight_decay = 0.1f,
            .scalars = &scalars};
  }
  void draw(int step) {
    for (std::int64_t i = 0; i < grad.numel(); ++i)
      grad.set(i, noise(100 + static_cast<std::uint64_t>(step), 3)(i));
  }
  [[nodiscard]] double worst() const {
    double gap = 0;
    for (std::int64_t i = 0; i < master.numel(); ++i)
      gap = std::max(gap, std::abs(master[i] - p64[static_cast<std::size_t>(i)]));
    return gap;
  }
  /// The stored parameter is the master rounded to nearest, ties of bf16 away from zero.
  [[nodiscard]] bool stored() {
    const DType type = param.view().type;
    Array want({1, master.numel()}, type, [&](std::int64_t i) {
      const auto x = static_cast<float>(master[i]);
      return type == DType::bf16 ? static_cast<double>(to_float(to_stored_bfloat16(x))) : master[i];
    });
    return want == param;
  }
  [[nodiscard]] bool guarded() const {
    return master.guarded() && m.guarded() && v.guarded() && param.guarded();
  }

  Array master, m, v, grad, param;
  std::vector<double> p64, m64, v64;
};

UpdateScalars at_step(int step, double lr) {
  UpdateScalars s;
  s.factor = 0.25f;
  s.lr = static_cast<float>(lr);
  s.bias1 = 1 - std::pow(static_cast<double>(0.9f), step);
  s.bias2 = 1 - std::pow(static_cast<double>(0.999f), step);
  return s;
}

}  // namespace

TEST_CASE("adamw follows an fp64 loop over twenty steps, for every type and size") {
  device::Stream stream(1);
  for (const DType grad_type : {DType::f32, DType::bf16}) {
    for (const DType param_type : {DType::bf16, DType::f16}) {
      for (const std::int64_t n : sizes) {
        State state(n, grad_type, param_type);
        for (int step = 1; step <= 20; ++step) {
          const UpdateScalars s = at_step(step, 1e-2);
          state.draw(step);
          kernels::adamw(state.args(s), stream);
          const auto lr = static_cast<double>(s.lr);
          const auto b1 = static_cast<double>(0.9f), b2 = static_cast<double>(0.999f);
          for (std::size_t i = 0; i < state.p64.size(); ++i) {
            const double g = state.grad[static_cast<std::int64_t>(i)] * 0.25;
            state.p64[i] *= 1 - lr * static_cast<double>(0.1f);
            state.m64[i] += (1 - b1) * (g - state.m64[i]);
            state.v64[i] = b2 * state.v64[i] + (1 - b2) * g * g;
            const double denominator =
                std::sqrt(state.v64[i]) / std::sqrt(s.bias2) + static_cast<double>(1e-8f);
            state.p64[i] -= lr / s.bias1 * state.m64[i] / denominator;
          }
        }
        CHECK(state.worst() < 3e-6);
        CHECK(state.stored());
        CHECK(state.guarded());
      }
    }
  }
}

TEST_CASE("adamw moves by lr times the gradient's sign on its first step") {
  device::Stream stream(1);
  State state(1000, DType::f32, DType::bf16);
  state.draw(1);
  const Array before = state.master;
  const UpdateScalars s = at_step(1, 1e-3);
  auto args = state.args(s);
  args.weight_decay = 0;
  kernels::adamw(args, stream);
  for (std::int64_t i = 0; i < 1000; ++i) {
    const double moved = state.master[i] - before[i];
    if (std::abs(state.grad[i]) < 1e-3) continue;  // eps still counts
    REQUIRE(std::abs(moved + (state.grad[i] > 0 ? 1e-3 : -1e-3)) < 2e-7);
  }
}

TEST_CASE("adamw with beta1 of zero keeps the gradient as its first moment exactly") {
  device::Stream stream(1);
  State state(300, DType::f32, DType::bf16);
  for (std::int64_t i = 0; i < 300; ++i) state.m.set(i, 1e6);
  state.draw(1);
  UpdateScalars s = at_step(1, 1e-3);
  s.bias1 = 1;
  auto args = state.args(s);
  args.beta1 = 0;
  kernels::adamw(args, stream);
  for (std::int64_t i = 0; i < 300; ++i) REQUIRE(state.m[i] == state.grad[i] * 0.25);
}

TEST_CASE("lion follows an fp64 loop over twenty steps") {
  device::Stream stream(1);
  for (const std::int64_t n : sizes) {
    State state(n, DType::f32, DType::bf16);
    for (int step = 1; step <= 20; ++step) {
      const UpdateScalars s = at_step(step, 1e-3);
      state.draw(step);
      auto args = state.args(s);
      args.v = {};
      args.beta2 = 0.99f;
      kernels::lion(args, stream);
      const auto lr = static_cast<double>(s.lr), b1 = static_cast<double>(0.9f),
                 b2 = static_cast<double>(0.99f);
      for (std::size_t i = 0; i < state.p64.size(); ++i) {
        const double g = state.grad[static_cast<std::int64_t>(i)] * 0.25;
        const double c = b1 * state.m64[i] + (1 - b1) * g;
        const double sign = c > 0 ? 1 : c < 0 ? -1 : 0;
        state.p64[i] -= lr * (sign + static_cast<double>(0.1f) * state.p64[i]);
        state.m64[i] = b2 * state.m64[i] + (1 - b2) * g;
      }
    }
    CHECK(state.worst() < 3e-6);
    CHECK(state.stored());
    CHECK(state.guarded());
  }
}

TEST_CASE("sgd follows an fp64 loop with and without momentum") {
  device::Stream stream(1);
  for (const float momentum : {0.0f, 0.9f}) {
    for (const std::int64_t n : sizes) {
      State state(n, DType::bf16, DType::f16);
      for (int step = 1; step <= 20; ++step) {
        const UpdateScalars s = at_step(step, 1e-2);
        state.draw(step);
        auto args = state.args(s);
        args.v = {};
        args.beta1 = momentum;
        if (momentum == 0) args.m = {};
        kernels::sgd(args, stream);
        for (std::size_t i = 0; i < state.p64.size(); ++i) {
          const double g = state.grad[static_cast<std::int64_t>(i)] * 0.25;
          state.m64[i] = static_cast<double>(momentum) * state.m64[i] + g +
                         static_cast<double>(0.1f) * state.p64[i];
          state.p64[i] -= static_cast<double>(s.lr) * state.m64[i];
        }
      }
      CHECK(state.worst() < 3e-6);
      CHECK(state.stored());
      CHECK(state.guarded());
    }
  }
}

TEST_CASE("an update that is skipped changes no state, and makes the stored parameter again") {
  device::Stream stream(2);
  State state(33 * 72, DType::f32, DType::bf16);
  state.draw(1);
  state.grad.set(3, std::nan(""));
  State before = state;
  for (std::int64_t i = 0; i < 33 * 72; ++i) {
    const bfloat16 stored = to_stored_bfloat16(before.master.view().as<float>()[i]);
    before.param.view().as<bfloat16>()[i] = stored;
  }
  UpdateScalars s = at_step(1, 1e-2);
  s.skip = 1;
  auto args = state.args(s);
  kernels::adamw(args, stream);
  args.v = {};
  kernels::lion(args, stream);
  kernels::sgd(args, stream);
  CHECK(state.master == before.master);
  CHECK(state.m == before.m);
  CHECK(state.v == before.v);
  CHECK(state.param == before.param);
}

TEST_CASE("padding that is zero stays exactly zero under every optimizer") {
  device::Stream stream(1);
  const auto zeros = [](std::int64_t) { return 0.0; };
  for (const DType type : {DType::bf16, DType::f32}) {
    Array p({1, 600}, DType::f32, zeros), m = p, v = p, g({1, 600}, type, zeros);
    Array q({1, 600}, DType::bf16), none = p, zero16({1, 600}, DType::bf16, zeros);
    for (int step = 1; step <= 5; ++step) {
      const UpdateScalars s = at_step(step, 1e-2);
      UpdateArgs args{.grad = g.view(),
                      .master = p.view(),
                      .m = m.view(),
                      .v = v.view(),
                      .param = q.view(),
                      .weight_decay = 0.1f,
                      .scalars = &s};
      kernels::adamw(args, stream);
      args.v = {};
      kernels::lion(args, stream);
      kernels::sgd(args, stream);
      CHECK(p == none);
      CHECK(m == none);
      CHECK(v == none);
      CHECK(q == zero16);
    }
  }
}

TEST_CASE("updates refuse missing state, wide parameters and an eps of zero") {
  device::Stream stream(1);
  State state(16, DType::f32, DType::bf16);
  const UpdateScalars s = at_step(1, 1e-2);
  auto args = state.args(s);
  CHECK_THROWS_AS(kernels::lion(args, stream), UsageError);
  CHECK_THROWS_AS(kernels::sgd(args, stream), UsageError);
  args.eps = 0;
  CHECK_THROWS_AS(kernels::adamw(args, stream), UsageError);
  args = state.args(s);
  args.m = {};
  CHECK_THROWS_AS(kernels::adamw(args, stream), UsageError);
  args = state.args(s);
  args.param = state.v.view();
  CHECK_THROWS_AS(kernels::adamw(args, stream), UsageError);
  args = state.args(s);
  args.scalars = nullptr;
  CHECK_THROWS_AS(kernels::adamw(args, stream), UsageError);
}
