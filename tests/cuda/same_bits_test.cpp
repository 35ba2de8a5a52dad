// Kernels that owe the CPU's bits, run on the host with threads as fibers, at any alignment.
#include <doctest/doctest.h>

#include <limits>
#include <vector>

#include "kernels/tensor.hpp"
#include "kernels/twins.hpp"
#include "support/host_cuda/host_driver.hpp"

namespace sherd {
namespace {

using test::part;
using test::Tensor;

constexpr DType floats[] = {DType::f32, DType::bf16, DType::f16};
const Philox rng = philox(3, Purpose::dropout, {1, 2});

/// Calls `with(in, out, on the device?)` twice on equal copies, for all types, sizes, alignments.
template <class With>
void compare(const With& with) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  for (const DType in_type : floats) {
    for (const DType out_type : floats) {
      for (const std::int64_t numel : {1, 13, 3000}) {
        for (const std::int64_t shift : {0, 1, 3}) {
          CAPTURE(name_of(in_type));
          CAPTURE(name_of(out_type));
          CAPTURE(numel);
          CAPTURE(shift);
          Tensor in({1, numel + 8}, in_type, 1, 3), out({1, numel + 8}, out_type, 2, 3);
          in.put(0, shift + 5 % numel, static_cast<double>(infinity));
          Tensor other(out);
          with(part(in.view(), shift, numel), part(out.view(), shift, numel), true);
          with(part(in.view(), shift, numel), part(other.view(), shift, numel), false);
          CHECK(out == other);
        }
      }
    }
  }
}

/// An optimizer's state, and one update of it.
struct State {
  Tensor grad, master, m, v, param;
  void update(int rule, std::int64_t shift, std::int64_t numel, const kernels::UpdateScalars& s,
              test::Streams& on, bool device) {
    const auto at = [&](const Tensor& tensor) { return part(tensor.view(), shift, numel); };
    kernels::UpdateArgs args{.grad = at(grad),
                             .master = at(master),
                             .m = at(m),
                             .v = rule == 0 ? at(v) : View{},
                             .param = at(param),
                             .weight_decay = 0.1f,
                             .scalars = &s};
    if (rule == 3) {
      args.m = args.param = {};
      args.beta1 = 0;
    }
    if (rule == 0) device ? cuda::adamw(args, on.device) : kernels::adamw(args, on.cpu);
    if (rule == 1) device ? cuda::lion(args, on.device) : kernels::lion(args, on.cpu);
    if (rule >= 2) device ? cuda::sgd(args, on.device) : kernels::sgd(args, on.cpu);
  }
  bool operator==(const State&) const = default;
};

}  // namespace

TEST_CASE("element-wise kernels give the CPU's bits for every pair of types") {
  test::Streams on;
  compare([&](View in, View out, bool device) {
    device ? cuda::gelu(in, out, on.device) : kernels::gelu(in, out, on.cpu);
  });
  compare([&](View in, View out, bool device) {
    device ? cuda::gelu_backward(in, out, out, on.device)
           : kernels::gelu_backward(in, out, out, on.cpu);
  });
  compare([&](View in, View out, bool device) {
    device ? cuda::add(in, out, out, on.device) : kernels::add(in, out, out, on.cpu);
  });
  compare([&](View in, View out, bool device) {
    const Philox* round = out.type == DType::bf16 && out.numel() > 13 ? &rng : nullptr;
    device ? cuda::cast(in, out, on.device, round) : kernels::cast(in, out, on.cpu, round);
  });
  compare([&](View, View out, bool device) {
    device ? cuda::scale(out, 0.3f, on.device) : kernels::scale(out, 0.3f, on.cpu);
  });
}

TEST_CASE("random kernels draw the CPU's bits from any first element on") {
  test::Streams on;
  for (const std::uint64_t first : {4u, 5u, 7u}) {
    compare([&](View, View out, bool device) {
      device ? cuda::fill_normal(out, first, 0.1f, 2, rng, on.device)
             : kernels::fill_normal(out, first, 0.1f, 2, rng, on.cpu);
    });
  }
  for (const float p : {0.0f, 0.3f}) {
    compare([&](View in, View out, bool device) {
      const View residual = in.numel() == 13 ? View{} : out;
      const kernels::DropoutArgs args{in, residual, out, p, rng};
      device ? cuda::dropout(args, on.device) : kernels::dropout(args, on.cpu);
    });
  }
  for (const Write mode : {Write::set, Write::add}) {
    compare([&](View in, View out, bool device) {
      if (out.type == DType::f16) return;  // no gradient's type
      const Grad to{out, mode, rng};
      device ? cuda::accumulate(in, to, on.device) : kernels::accumulate(in, to, on.cpu);
    });
  }
}

TEST_CASE("optimizer updates give the CPU's bits, and a skipped one changes no state") {
  test::Streams on;
  for (const DType grad : {DType::f32, DType::bf16}) {
    for (const std::int64_t numel : {5, 9001}) {
      for (const int rule : {0, 1, 2, 3}) {
        const std::int64_t shift = numel % 3 == 1 ? 0 : 1;
        const Shape shape{1, numel + 8};
        State first{{shape, grad, 1},
                    {shape, DType::f32, 2},
                    {shape, DType::f32, 3},
                    {shape, DType::f32, 4},
                    {shape, grad == DType::f32 ? DType::f16 : DType::bf16, 5}};
        for (std::int64_t i = 0; i < shape.cols; ++i) first.v.put(0, i, std::abs(first.v.at(0, i)));
        kernels::UpdateScalars scalars{.factor = 0.7f, .lr = 1e-3f, .bias1 = 0.19, .bias2 = 0.002};
        State device = first, cpu = first, skipped = first, skipped_cpu = first;
        device.update(rule, shift, numel, scalars, on, true);
        cpu.update(rule, shift, numel, scalars, on, false);
        scalars.skip = 1;
        skipped.update(rule, shift, numel, scalars, on, true);
        skipped_cpu.update(rule, shift, numel, scalars, on, false);
        CHECK(device == cpu);
        CHECK(!(device == first));
        CHECK(skipped == skipped_cpu);
        skipped.param = first.param;
        CHECK(skipped == first);
      }
    }
  }
}

TEST_CASE("a squared norm has the CPU's limbs and counts what is not finite") {
  test::Streams on;
  for (const DType type : {DType::f32, DType::bf16}) {
    for (const std::int64_t quanta : {1, 33, 200}) {
      for (const std::int64_t shift : {0, 1}) {
        const std::int64_t numel = quanta * kernels::quantum;
        Tensor x({1, numel + 8}, type, 9, 2);
        x.put(0, shift + numel / 2, std::numeric_limits<double>::infinity());
        x.put(0, shift + numel / 2 + 3, std::numeric_limits<double>::quiet_NaN());
        kernels::NormSum device{}, cpu{};
        device.squares.add(2.5);
        cpu.squares.add(2.5);
        cuda::square_norm(part(x.view(), shift, numel), device, on.device);
        kernels::square_norm(part(x.view(), shift, numel), cpu, on.cpu);
        CHECK(device.squares.limb == cpu.squares.limb);
        CHECK(device.nonfinite == 2);
      }
    }
  }
}

TEST_CASE("a fold gives the CPU's bits in either order, with out among its sources") {
  test::Streams on;
  for (const DType type : {DType::f32, DType::bf16}) {
    for (const int world : {1, 2, 5, 9, 64}) {
      for (const int variant : {0, 1, 2, 3, 4, 5, 6, 7}) {
        const std::int64_t numel = 1003, shift = variant % 2;
        std::vector<Tensor> sources;
        for (int i = 0; i < world; ++i) {
          sources.emplace_back(Shape{1, numel + 8}, type, 20u + static_cast<unsigned>(i));
        }
        Tensor device({1, numel + 8}, type, 7), cpu(device);
        for (Tensor* out : {&device, &cpu}) {
          std::vector<const std::byte*> at;
          for (const Tensor& from : sources) at.push_back(part(from.view(), shift, numel).data);
          if (world > 2) at[1] = part(out->view(), shift, numel).data;
          const kernels::FoldArgs args{
              .sources = at,
              .out = part(out->view(), shift, numel),
              .mode = variant / 2 % 2 == 0 ? Write::set : Write::add,
              .order = variant / 4 == 0 ? kernels::FoldOrder::fast : kernels::FoldOrder::left,
              .round = type == DType::bf16 && world % 2 == 1 ? &rng : nullptr,
              .first = 1000u + static_cast<unsigned>(world % 4)};
          out == &device ? cuda::fold(args, on.device) : kernels::fold(args, on.cpu);
        }
        CHECK(device == cpu);
      }
    }
  }
}

}  // namespace sherd
