// Kernels of the llama family on the device: the CPU's bits where no sum is in another order, else
// its values.
#include <doctest/doctest.h>

#include <array>

#include "kernels/rotary_reference.hpp"
#include "kernels/twin.hpp"
#include "sherd/kernels/attention_cached.hpp"
#include "sherd/kernels/norm_rms.hpp"
#include "sherd/kernels/swiglu.hpp"

using namespace sherd;
using kernels::AttentionShape;
using test::Array;
using test::awkward;
using test::Both;
using test::float_types;
using test::half_ulp;
using test::noise;
using test::Twin;

namespace {

constexpr std::array shapes = {AttentionShape{1, 1, 1, 2},        AttentionShape{2, 33, 3, 24},
                               AttentionShape{1, 70, 6, 20, 2},   AttentionShape{2, 9, 14, 64, 2},
                               AttentionShape{1, 300, 4, 128, 1}, AttentionShape{1, 5, 2, 256}};
const kernels::Rotary tight{100, kernels::RotaryScaling::llama3, 8, 1, 4, 64};

/// The device's result against the CPU's, which other tests hold to fp64: a few steps of the type.
bool near(Twin& twin, Both& both, DType type, double size) {
  const Array& want = both.host;
  return test::worst(
             both.device(twin.stream), [&](std::int64_t i) { return want[i]; },
             [&](std::int64_t i) { return 1e-5 * size + 2 * half_ulp(type) * std::abs(want[i]); }) <
         1;
}

/// What both ways of a rotation read and write.
struct Turned {
  Turned(Twin& on, const AttentionShape& s, DType type)
      : shape(s),
        in(on.make(rows(), type, noise(1, 2))),
        out(on.make(rows(), type, noise(2))),
        d_out(on.make(rows(), type, noise(3, 2))),
        d_in(on.make(rows(), type, noise(4))),
        q_gain(on.make({1, s.head_dim}, type, noise(5))),
        k_gain(on.make({1, s.head_dim}, type, noise(6))),
        rstd(on.make({s.rows(), s.heads + s.key_heads()}, DType::f32, noise(7))),
        d_q(on.make({1, s.head_dim}, DType::f32, noise(8))),
        d_k(on.make({1, s.head_dim}, DType::f32, noise(9))) {}

  [[nodiscard]] Shape rows() const { return {shape.rows(), shape.qkv_width()}; }
  [[nodiscard]] Bytes need(StreamRef s) const {
    return kernels::rotary_backward_scratch(shape, {.kind = s.kind(), .threads = 2});
  }
  void run(Twin& on, StreamRef s, bool norms) {
    kernels::RotaryArgs forward{.shape = shape, .in = in.at(s), .out = out.at(s)};
    kernels::RotaryBackwardArgs back{.shape = shape, .d_out = d_out.at(s), .d_in = d_in.at(s)};
    if (norms) {
      back.in = in.at(s);
      forward.q_gain = back.q_gain = q_gain.at(s);
      forward.k_gain = back.k_gain = k_gain.at(s);
      forward.rstd = back.rstd = rstd.at(s);
      back.d_q_gain = {d_q.at(s), Write::add};
      back.d_k_gain = {d_k.at(s)};
    }
    forward.rotary = back.rotary = tight;
    forward.first_position = back.first_position = 40;
    forward.scratch = back.scratch = on.scratch(s, need(s));
    kernels::rotary(forward, s);
    kernels::rotary_backward(back, s);
  }

  AttentionShape shape;
  Both &in, &out, &d_out, &d_in, &q_gain, &k_gain, &rstd, &d_q, &d_k;
};

}  // namespace

TEST_CASE("swiglu and its gradient on the device give the CPU's bits") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  for (const DType in : float_types) {
    for (const DType out : float_types) {
      for (const Shape shape : {Shape{1, 1}, Shape{33, 259}, Shape{7, 4864}}) {
        const Shape pair{shape.rows, 2 * shape.cols};
        Both &gate_up = twin.make(pair, in, awkward(1)), &y = twin.make(shape, out, noise(2)),
             &dy = twin.make(shape, out, awkward(3)), &dx = twin.make(pair, out, noise(4)),
             &self = twin.make(pair, in, noise(5));
        twin.run([&](StreamRef s) {
          kernels::swiglu(gate_up.at(s), y.at(s), s);
          kernels::swiglu_backward(gate_up.at(s), dy.at(s), dx.at(s), s);
          kernels::swiglu_backward(self.at(s), dy.at(s), self.at(s), s);
        });
        for (Both* each : {&y, &dx, &self}) CHECK(twin.same(*each));
        CHECK(twin.is_sound());
        twin.clear();
      }
    }
  }
}

TEST_CASE("rotary on the device gives the CPU's bits, and close ones with the norm of heads") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  for (const AttentionShape& shape : shapes) {
    for (const DType type : float_types) {
      CAPTURE(shape.head_dim);
      CAPTURE(name_of(type));
      Turned turned(twin, shape, type);
      twin.run([&](StreamRef s) { turned.run(twin, s, false); });
      CHECK(twin.same(turned.out));
      CHECK(twin.same(turned.d_in));
      CHECK(twin.is_sound());
      twin.run([&](StreamRef s) { turned.run(twin, s, true); });
      for (Both* each : {&turned.out, &turned.d_in}) CHECK(near(twin, *each, type, 4));
      CHECK(near(twin, turned.rstd, DType::f32, 1));
      const auto sums = static_cast<double>(shape.rows() * shape.heads);
      for (Both* each : {&turned.d_q, &turned.d_k}) CHECK(near(twin, *each, DType::f32, 1 + sums));
      CHECK(twin.is_sound());
      twin.clear();
    }
  }
}

TEST_CASE("RMS norm and its gradient on the device agree with the CPU for awkward rows") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  for (const Shape shape : {Shape{1, 1}, Shape{1, 257}, Shape{33, 259}, Shape{300, 24},
                            Shape{5, 896}, Shape{3, 5000}}) {
    for (const DType type : float_types) {
      for (const DType grad : {DType::f32, DType::bf16}) {
        Both &in = twin.make(shape, type, noise(1, 3)), &out = twin.make(shape, type, noise(2)),
             &gain = twin.make({1, shape.cols}, type, noise(3)),
             &rstd = twin.make({shape.rows, 1}, DType::f32, noise(4)),
             &d_out = twin.make(shape, type, noise(5)),
             &residual = twin.make(shape, type, noise(6)), &d_in = twin.make(shape, type, noise(7)),
             &d_gain = twin.make({1, shape.cols}, grad, noise(8));
        twin.run([&](StreamRef s) {
          kernels::rms_norm({in.at(s), gain.at(s), out.at(s), rstd.at(s)}, s);
          const Bytes need =
              kernels::rms_norm_backward_scratch(shape.rows, shape.cols, {.kind = s.kind()});
          kernels::rms_norm_backward({in.at(s),
                                      d_out.at(s),
                                      gain.at(s),
                                      rstd.at(s),
                                      residual.at(s),
                                      d_in.at(s),
                                      {d_gain.at(s), Write::add, {1, 2}},
                                      twin.scratch(s, need)},
                                     s);
        });
        CAPTURE(shape.cols);
        CAPTURE(name_of(type));
        CHECK(near(twin, out, type, 1));
        CHECK(near(twin, rstd, DType::f32, 10));
        CHECK(near(twin, d_in, type, 10));
        const auto rows = static_cast<double>(shape.rows);
        CHECK(near(twin, d_gain, grad, 1 + rows));
        CHECK(twin.is_sound());
        twin.clear();
      }
    }
  }
}

TEST_CASE("cached attention on the device agrees with the CPU, and appends its bits") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  for (const AttentionShape& shape : shapes) {
    if (shape.length > 100) continue;
    for (const DType type : float_types) {
      for (const std::int64_t positions : {shape.length, std::int64_t{300}, std::int64_t{700}}) {
        const std::int64_t capacity = 700;
        const Shape cache{shape.sequences * capacity, shape.kv_width()};
        Both &qkv = twin.make({shape.rows(), shape.qkv_width()}, type, noise(1, 2)),
             &keys = twin.make(cache, type, noise(2, 2)),
             &values = twin.make(cache, type, noise(3)),
             &out = twin.make({shape.rows(), shape.width()}, type, noise(4));
        twin.run([&](StreamRef s) {
          const kernels::KeyValueCache at{capacity, keys.at(s), values.at(s)};
          const Bytes need =
              kernels::attention_cached_scratch(shape, capacity, {.kind = s.kind(), .threads = 2});
          kernels::cache_append({shape, qkv.at(s), at, positions - shape.length}, s);
          kernels::attention_cached(
              {shape, qkv.at(s), at, positions, out.at(s), twin.scratch(s, need)}, s);
        });
        CAPTURE(shape.head_dim);
        CAPTURE(name_of(type));
        CHECK(twin.same(keys));
        CHECK(twin.same(values));
        CHECK(near(twin, out, type, 1));
        CHECK(twin.is_sound());
        twin.clear();
      }
    }
  }
}
