// Kernels of the llama family, run on the host with threads as fibers, against the CPU's.
#include <doctest/doctest.h>

#include <vector>

#include "kernels/tensor.hpp"
#include "kernels/twins.hpp"
#include "support/host_cuda/host_driver.hpp"

namespace sherd {
namespace {

using kernels::AttentionShape;
using test::Tensor;

constexpr DType floats[] = {DType::f32, DType::bf16, DType::f16};

double largest_gap(const Tensor& a, const Tensor& b) {
  double gap = 0;
  for (std::int64_t i = 0; i < a.view().numel(); ++i)
    gap = std::max(gap, std::abs(a.at(0, i) - b.at(0, i)));
  return gap;
}
/// Of values of magnitude up to 8: two steps of the type.
double steps_of(DType type) { return 16 * test::half_ulp(type) + 3e-5; }

/// `floats` of them, NaN where nothing was written.
struct Scratch {
  explicit Scratch(Bytes size) : bytes(size + 64, std::byte{0xff}) {}
  [[nodiscard]] View view() {
    const auto misfit = reinterpret_cast<std::uintptr_t>(bytes.data()) % 64;
    return {bytes.data() + (64 - misfit) % 64, {1, std::ssize(bytes) - 64}, DType::u8};
  }
  std::vector<std::byte> bytes;
};

/// The same view, some elements later.
View later(const View& view, std::int64_t by, Shape shape) {
  return {view.data + by * static_cast<std::int64_t>(size_of(view.type)), shape, view.type};
}

constexpr AttentionShape turning[] = {{1, 1, 1, 2},      {2, 9, 3, 8, 1}, {1, 30, 4, 20, 2},
                                      {2, 3, 14, 64, 2}, {1, 5, 2, 256},  {1, 600, 2, 16}};

struct Turned {
  AttentionShape shape;
  DType type;
  Shape rows{shape.rows(), shape.qkv_width()};
  Tensor in{rows, type, 1, 2}, out{rows, type, 0}, d_out{rows, type, 2}, d_in{rows, type, 0};
  Tensor q_gain{{1, shape.head_dim}, type, 3}, k_gain{{1, shape.head_dim}, DType::f32, 4};
  Tensor rstd{{shape.rows(), shape.heads + shape.key_heads()}, DType::f32, 0};
  Tensor d_q{{1, shape.head_dim}, DType::f32, 5}, d_k{{1, shape.head_dim}, DType::f32, 6};
  kernels::Rotary rotary{100, kernels::RotaryScaling::llama3, 8, 1, 4, 64};

  void forward(test::Streams& on, bool device, bool norms, bool in_place) {
    Scratch scratch(kernels::rotary_scratch(
        shape, {.kind = device ? DeviceKind::cuda : DeviceKind::cpu, .threads = 1}));
    kernels::RotaryArgs args{.shape = shape, .in = in.view(), .out = out.view()};
    if (in_place) args.out = in.view();
    if (norms) args.q_gain = q_gain.view();
    if (norms) args.k_gain = k_gain.view();
    if (norms) args.rstd = rstd.view();
    args.rotary = rotary;
    args.scratch = scratch.view();
    args.first_position = 77;
    device ? cuda::rotary(args, on.device) : kernels::rotary(args, on.cpu);
  }
  void backward(test::Streams& on, bool device, bool norms, bool in_place) {
    Scratch scratch(kernels::rotary_backward_scratch(
        shape, {.kind = device ? DeviceKind::cuda : DeviceKind::cpu, .threads = 1}));
    kernels::RotaryBackwardArgs args{.shape = shape, .d_out = d_out.view(), .d_in = d_in.view()};
    if (in_place) args.d_in = d_out.view();
    if (norms) {
      args.in = in.view();
      args.q_gain = q_gain.view();
      args.k_gain = k_gain.view();
      args.rstd = rstd.view();
      args.d_q_gain = {d_q.view(), Write::add};
      args.d_k_gain = {d_k.view(), Write::set};
    }
    args.rotary = rotary;
    args.scratch = scratch.view();
    device ? cuda::rotary_backward(args, on.device) : kernels::rotary_backward(args, on.cpu);
  }
};

/// An RMS norm's operands and results, forward and backward.
struct Norm {
  Shape shape;
  DType type;
  Tensor in{shape, type, 1, 2}, gain{{1, shape.cols}, DType::f32, 2};
  Tensor out{shape, type, 0}, rstd{{shape.rows, 1}, DType::f32, 0};
  Tensor d_out{shape, type, 4}, residual{shape, DType::f32, 5}, d_in{shape, type, 0};
  Tensor d_gain{{1, shape.cols}, DType::f32, 6};

  [[nodiscard]] kernels::RmsNormArgs forward() const {
    return {in.view(), gain.view(), out.view(), rstd.view()};
  }
  [[nodiscard]] kernels::RmsNormBackwardArgs backward(Scratch& scratch, bool in_place) const {
    return {.in = in.view(),
            .d_out = d_out.view(),
            .gain = gain.view(),
            .rstd = rstd.view(),
            .residual = in_place ? View{} : residual.view(),
            .d_in = in_place ? d_out.view() : d_in.view(),
            .d_gain = {d_gain.view(), in_place ? Write::set : Write::add, {}},
            .scratch = scratch.view()};
  }
  [[nodiscard]] Scratch scratch(DeviceKind kind) const {
    return Scratch(kernels::rms_norm_backward_scratch(shape.rows, shape.cols, {.kind = kind}));
  }
};

}  // namespace

TEST_CASE("swiglu gives the CPU's bits for every pair of types, at any alignment") {
  test::Streams on;
  for (const DType in : floats) {
    for (const DType out : floats) {
      for (const Shape shape : {Shape{1, 1}, Shape{3, 13}, Shape{2, 2056}, Shape{5, 4864}}) {
        for (const std::int64_t shift : {0, 1}) {
          CAPTURE(shape.cols);
          const Shape pair{shape.rows, 2 * shape.cols};
          Tensor gate_up({1, pair.numel() + 8}, in, 1, 4), d_out({1, shape.numel() + 8}, out, 2);
          Tensor got({1, shape.numel() + 8}, out, 3), want(got), d_want(gate_up);
          const auto at = [&](const Tensor& x, Shape of) { return later(x.view(), shift, of); };
          cuda::swiglu(at(gate_up, pair), at(got, shape), on.device);
          kernels::swiglu(at(gate_up, pair), at(want, shape), on.cpu);
          CHECK(got == want);
          Tensor apart(gate_up);
          cuda::swiglu_backward(at(gate_up, pair), at(d_out, shape), at(apart, pair), on.device);
          kernels::swiglu_backward(at(gate_up, pair), at(d_out, shape), at(d_want, pair), on.cpu);
          CHECK(apart == d_want);
          cuda::swiglu_backward(at(gate_up, pair), at(d_out, shape), at(gate_up, pair), on.device);
          CHECK(gate_up == d_want);
        }
      }
    }
  }
}

TEST_CASE("rotary without a norm gives the CPU's bits, both ways and in place") {
  test::Streams on;
  for (const AttentionShape& shape : turning) {
    for (const DType type : floats) {
      for (const bool in_place : {false, true}) {
        CAPTURE(shape.head_dim);
        Turned device{shape, type}, cpu{shape, type};
        device.forward(on, true, false, in_place);
        cpu.forward(on, false, false, in_place);
        device.backward(on, true, false, in_place);
        cpu.backward(on, false, false, in_place);
        CHECK(device.in == cpu.in);
        CHECK(device.out == cpu.out);
        CHECK(device.d_out == cpu.d_out);
        CHECK(device.d_in == cpu.d_in);
      }
    }
  }
}

TEST_CASE("rotary with the norm of heads agrees with the CPU, gains' gradients too") {
  test::Streams on;
  for (const AttentionShape& shape : turning) {
    for (const DType type : floats) {
      for (const bool in_place : {false, true}) {
        CAPTURE(shape.head_dim);
        Turned device{shape, type}, cpu{shape, type};
        device.forward(on, true, true, false);
        cpu.forward(on, false, true, false);
        device.backward(on, true, true, in_place);
        cpu.backward(on, false, true, in_place);
        CHECK(largest_gap(device.rstd, cpu.rstd) < 1e-5);
        CHECK(largest_gap(device.out, cpu.out) <= steps_of(type));
        CHECK(largest_gap(device.d_in, cpu.d_in) <= steps_of(type));
        CHECK(largest_gap(device.d_out, cpu.d_out) <= steps_of(type));
        CHECK(largest_gap(device.d_q, cpu.d_q) < 1e-3);
        CHECK(largest_gap(device.d_k, cpu.d_k) < 1e-3);
      }
    }
  }
}

TEST_CASE("RMS norm agrees with the CPU for rows of any length, both ways") {
  test::Streams on;
  for (const Shape shape : {Shape{5, 13}, Shape{9, 768}, Shape{3, 1600}, Shape{2, 2056},
                            Shape{1200, 24}, Shape{3, 4200}, Shape{1, 17000}}) {
    for (const bool in_place : {false, true}) {
      const DType type = in_place ? DType::bf16 : DType::f32;
      CAPTURE(shape.cols);
      Norm device{shape, type}, cpu{shape, type};
      cuda::rms_norm(device.forward(), on.device);
      kernels::rms_norm(cpu.forward(), on.cpu);
      CHECK(largest_gap(device.rstd, cpu.rstd) < 1e-5);
      CHECK(largest_gap(device.out, cpu.out) <= steps_of(type));
      Scratch scratch = device.scratch(DeviceKind::cuda), other = cpu.scratch(DeviceKind::cpu);
      cuda::rms_norm_backward(device.backward(scratch, in_place), on.device);
      kernels::rms_norm_backward(cpu.backward(other, in_place), on.cpu);
      CHECK(largest_gap(device.d_in, cpu.d_in) <= steps_of(type));
      CHECK(largest_gap(device.d_out, cpu.d_out) <= steps_of(type));
      CHECK(largest_gap(device.d_gain, cpu.d_gain) < 1e-3);
    }
  }
}

TEST_CASE("cached attention agrees with the CPU, and appends the CPU's bits") {
  test::Streams on;
  for (const AttentionShape& shape :
       {AttentionShape{1, 1, 1, 1}, AttentionShape{2, 3, 6, 20, 2}, AttentionShape{1, 1, 6, 64, 2},
        AttentionShape{1, 2, 2, 256}, AttentionShape{1, 4, 3, 8, 1}}) {
    for (const DType type : floats) {
      CAPTURE(shape.head_dim);
      const std::int64_t capacity = 140;  // three chunks
      const DType cached = shape.length == 3 ? DType::f32 : type;
      const Shape cache{shape.sequences * capacity, shape.kv_width()};
      Tensor qkv({shape.rows(), shape.qkv_width()}, type, 1), keys(cache, cached, 2);
      Tensor values(cache, cached, 3), out({shape.rows(), shape.width()}, type, 4);
      Tensor cpu_keys(keys), cpu_values(values), want(out);
      for (const std::int64_t positions : {std::int64_t{66}, capacity}) {
        Scratch scratch(kernels::attention_cached_scratch(shape, capacity, {}));
        const kernels::KeyValueCache device{capacity, keys.view(), values.view()},
            cpu{capacity, cpu_keys.view(), cpu_values.view()};
        const std::int64_t first = positions - shape.length;
        cuda::cache_append({shape, qkv.view(), device, first}, on.device);
        kernels::cache_append({shape, qkv.view(), cpu, first}, on.cpu);
        CHECK(keys == cpu_keys);
        CHECK(values == cpu_values);
        cuda::attention_cached({shape, qkv.view(), device, positions, out.view(), scratch.view()},
                               on.device);
        kernels::attention_cached({shape, qkv.view(), cpu, positions, want.view(), scratch.view()},
                                  on.cpu);
        CHECK(largest_gap(out, want) <= steps_of(type) / 4);
      }
    }
  }
}

}  // namespace sherd
