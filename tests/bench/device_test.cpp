// Rows of a device: present, right and bounded. How fast they are is nobody's test.
#include "sherd/bench/device.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <set>
#include <string>

#include "bench/device_rig.hpp"
#include "sherd/kernels/elementwise.hpp"
#include "support/device_under_test.hpp"

using namespace sherd;
using bench::DeviceRig;
using bench::Row;

namespace {

const bench::BenchOptions quick{.threads = 1, .quick = true, .rounds = 1};

std::set<std::string> check(const std::vector<Row>& rows) {
  std::set<std::string> names;
  for (const Row& row : rows) {
    INFO(bench::to_json(row));
    CHECK(row.wrong == 0);
    CHECK(row.time.median > 0);
    CHECK(row.work > 0);
    CHECK(row.bound > 0);
    CHECK(std::isfinite(row.of_bound()));
    names.insert(row.name);
  }
  return names;
}

}  // namespace

TEST_CASE("memory-bound kernels of a device have bounds and no wrong results") {
  SHERD_NEEDS_DEVICE();
  const device::OpenDevice device = test::open_device();
  DeviceRig rig(device, quick);
  CHECK(check(device_elementwise(rig)) ==
        std::set<std::string>{"device.gelu", "device.gelu_backward", "device.add", "device.dropout",
                              "device.swiglu", "device.swiglu_backward", "device.cast",
                              "device.square_norm"});
  CHECK(check(device_by_rows(rig)) ==
        std::set<std::string>{"device.layer_norm", "device.layer_norm_backward", "device.rms_norm",
                              "device.rms_norm_backward", "device.rotary", "device.cross_entropy",
                              "device.embedding"});
  CHECK(check(device_gradients(rig)) ==
        std::set<std::string>{"device.bias_gradient", "device.embedding_backward"});
}

TEST_CASE("products of a device cover five layers in three directions, then attention") {
  SHERD_NEEDS_DEVICE();
  const device::OpenDevice device = test::open_device();
  DeviceRig rig(device, quick);
  const std::vector<Row> products = device_products(rig);
  const std::set<std::string> names = check(products);
  CHECK(names.size() == 15);
  CHECK(names.contains("device.matmul.gpt2-tiny.qkv.forward"));
  CHECK(names.contains("device.matmul.gpt2-tiny.head.weight_gradient"));
  CHECK(check(device_attention(rig, products)) ==
        std::set<std::string>{
            "device.attention.gpt2-tiny.forward", "device.attention.gpt2-tiny.backward",
            "device.attention.llama-tiny.forward", "device.attention.llama-tiny.backward"});
}

TEST_CASE("optimizer rows of a device say where and how many, with both types of gradient") {
  SHERD_NEEDS_DEVICE();
  const device::OpenDevice device = test::open_device();
  bench::BenchOptions options = quick;
  options.n = 256 * 100;
  const std::vector<Row> rows = device_optim(device, options);
  CHECK(check(rows) == std::set<std::string>{"device.adamw", "device.lion", "device.sgd"});
  REQUIRE(rows.size() == 4);
  CHECK(rows[0].work == 28 * 25600);
  CHECK(rows[1].work == 30 * 25600);
  for (const Row& row : rows) {
    CHECK(bench::to_json(row).find("\"where\":\"device\"") != std::string::npos);
    CHECK(bench::to_json(row).find("\"n\":25600") != std::string::npos);
  }
}

TEST_CASE("an element that differs from the CPU is counted, and one within tolerance is not") {
  SHERD_NEEDS_DEVICE();
  const device::OpenDevice device = test::open_device();
  DeviceRig rig(device, quick);
  const auto off_by = [](float error, double tolerance) {
    return bench::DeviceCase{
        .name = "scaled",
        .size = 8,
        .small = 8,
        .build = [=](bench::Place& place, std::int64_t size) {
          const View x = place.result(place.noise({1, size}, DType::f32), tolerance);
          const float factor = place.on_device() ? 1 + error : 1;
          return bench::Launch{[=, at = place.stream()] { kernels::scale(x, factor, at); }, 1};
        }};
  };
  CHECK(rig.differing(off_by(0, 0)) == 0);
  CHECK(rig.differing(off_by(0.5f, 0)) == 8);
  CHECK(rig.differing(off_by(1e-4f, 1e-3)) == 0);
}
