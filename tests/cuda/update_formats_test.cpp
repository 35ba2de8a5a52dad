// Updates of every format of state by the kernels' own sources, on the host.
#include <doctest/doctest.h>

#include "kernels/twins.hpp"
#include "kernels/update_state.hpp"
#include "support/host_cuda/host_driver.hpp"

namespace sherd {

TEST_CASE("updates of every format give the CPU's bits through several steps, at any element") {
  test::Streams on;
  for (const test::Rule rule : test::rules) {
    for (const test::Formats& formats : test::all_formats()) {
      const bool blocks = formats.moments == DType::q8;
      const std::int64_t n = blocks ? 36 * 256 : 9003, first = blocks ? 256 : 3;
      test::UpdateState device(rule, n, formats), cpu = device;
      for (int step = 1; step <= 3; ++step) {
        const kernels::UpdateScalars s = test::scalars_at(step, 1e-2f);
        const kernels::UpdateArgs args = device.args(s, first, n - first);
        if (rule == test::Rule::adamw) cuda::adamw(args, on.device);
        if (rule == test::Rule::lion) cuda::lion(args, on.device);
        if (rule == test::Rule::sgd) cuda::sgd(args, on.device);
        cpu.update(s, on.cpu, first, n - first);
        CHECK(device == cpu);
      }
      CHECK(device.guarded());
    }
  }
}

TEST_CASE("an 8-bit block with a broken element is NaN as a whole on both sides") {
  test::Streams on;
  test::UpdateState device(test::Rule::sgd, 512, {DType::f32, DType::q8, false});
  device.grad.set_raw(300, std::numeric_limits<float>::infinity());
  test::UpdateState cpu = device;
  const kernels::UpdateScalars s = test::scalars_at(1, 1e-2f);
  cuda::sgd(device.args(s, 0, 512), on.device);
  cpu.update(s, on.cpu);
  CHECK(device.m == cpu.m);
  CHECK(std::isfinite(device.m.scale(0)));
  CHECK(std::isnan(device.m.scale(1)));
}

TEST_CASE("8-bit blocks widen to the CPU's bits in every type, from any block on") {
  test::Streams on;
  for (const DType type : test::float_types) {
    for (const std::int64_t first : {0, 256, 1280}) {
      const std::int64_t n = 37 * 256, count = n - first;
      test::Cells blocks(n, DType::q8, true, test::noise(5, 0.02));
      test::Cells device(n, type, true, test::noise(6)), cpu = device;
      cuda::decode_blocks(blocks.view(first, count), device.view(first, count), on.device);
      kernels::decode_blocks(blocks.view(first, count), cpu.view(first, count), on.cpu);
      CHECK(device == cpu);
    }
  }
}

}  // namespace sherd
