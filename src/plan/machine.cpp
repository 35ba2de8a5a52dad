#include "sherd/plan/machine.hpp"

#include <string>

#include "sherd/base/errors.hpp"

namespace sherd::plan {
namespace {

// Peaks as published, with no part of them assumed to be reached: a step takes longer than this.
Machine h200() {
  return {.flops = 67e12,              // fp32 without the tensor cores, which products stay off
          .memory_bandwidth = 4.8e12,  // HBM3e
          .net_bandwidth = 450e9,      // NVLink: 900 GB/s, half of it each way
          .net_latency = 0,            // none is published
          .half_flops = 989.4e12,      // bf16 and fp16 on the tensor cores, dense
          .host_bandwidth = 64e9,      // PCIe generation 5, 16 lanes, each way
          .device_memory = 141'000'000'000,
          .name = "h200",
          .measured = false,
          .source =
              "NVIDIA H200 SXM data sheet: 989.4 TFLOP/s dense bf16, 67 TFLOP/s fp32, 4.8 TB/s "
              "HBM3e, NVLink 900 GB/s both ways together, PCIe 5 x16 64 GB/s each way; no "
              "latency is published"};
}

}  // namespace

Machine machine(std::string_view name) {
  if (name == "h200") return h200();
  expects(name == "cpu", "machine: got '" + std::string(name) + "', need cpu or h200");
  return {};
}

Machine machine_of(const Target& target) {
  return machine(target.kind == DeviceKind::cuda ? "h200" : "cpu");
}

}  // namespace sherd::plan
