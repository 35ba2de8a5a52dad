#pragma once
// Rates of one rank of a machine, with the sentence that says where each comes from.
#include <string_view>

#include "sherd/device/target.hpp"

namespace sherd::plan {

/// What the simulator divides by. The defaults are one core of a small server.
struct Machine {
  double flops = 8e10;               // FLOP/s of fp32 products
  double memory_bandwidth = 1.5e10;  // bytes/s of element-wise passes
  double net_bandwidth = 5e9;        // bytes/s a rank sends in a collective
  double net_latency = 2e-5;         // seconds a collective
  double half_flops = 0;             // FLOP/s of bf16 and fp16 products; 0: they run as fp32
  double host_bandwidth = 0;         // bytes/s between device and host; 0: they share memory
  std::string_view name = "cpu";
  bool measured = true;  // false: published peaks, which no program reaches
  std::string_view source = "one core of a small server with AVX2, after sherd bench step, rounded";

  /// FLOP/s of products whose operands are `compute`.
  [[nodiscard]] double product_flops(DType compute) const {
    return compute == DType::f32 || half_flops == 0 ? flops : half_flops;
  }
};

/// "measured" or "published peaks".
[[nodiscard]] constexpr std::string_view kind_of_rates(const Machine& machine) {
  return machine.measured ? "measured" : "published peaks";
}

/// The description of that name: "cpu" or "h200". **Errors** UsageError for any other.
[[nodiscard]] Machine machine(std::string_view name);
/// The description a plan for `target` is simulated with.
[[nodiscard]] Machine machine_of(const Target& target);

}  // namespace sherd::plan
