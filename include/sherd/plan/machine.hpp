#pragma once
// Rates and capacities of one rank of a machine, with the sentence that says where each comes from.
#include <string>
#include <string_view>

#include "sherd/base/units.hpp"
#include "sherd/device/target.hpp"

namespace sherd::plan {

/// What the simulator divides by. The defaults are one core of a small server.
struct Machine {
  double flops = 8e10;               // FLOP/s of fp32 products
  double memory_bandwidth = 1.5e10;  // bytes/s of element-wise passes
  double net_bandwidth = 5e9;        // bytes/s a rank sends in a collective
  double net_latency = 2e-5;         // seconds a collective
  double half_flops = 0;             // FLOP/s of bf16 and fp16 products; 0: they run as fp32
  double host_bandwidth = 0;  // bytes/s between device and host, each way; 0: they share memory
  double host_update_bandwidth = 0;  // bytes/s, both ways, of updates on the host; 0: as memory
  double disk_bandwidth = 0;         // bytes/s of direct reads and writes together; 0: as memory
  double local_bandwidth = 0;        // as net_bandwidth, inside one machine; 0: as net_bandwidth
  double efficiency = 1;             // part of `flops` that products reach
  int ranks = 64;                    // of one machine, each with these rates at once
  Bytes device_memory = 0;           // of one rank; 0: not stated, as below
  Bytes host_memory = 0;             // of the machine
  Bytes file_capacity = 0;           // of the machine, for the file tier
  std::string name = "cpu";
  bool measured = true;  // false: published peaks, which no program reaches
  std::string source = "one core of a small server with AVX2, after sherd bench step, rounded";

  /// FLOP/s that products whose operands are `compute` reach.
  [[nodiscard]] double product_flops(DType compute) const {
    return efficiency * (compute == DType::f32 || half_flops == 0 ? flops : half_flops);
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
/// The description in a JSON file of the form of docs/planner.md.
///
/// **Errors** DataError naming the file and every key that is unknown, missing or has a value that
/// cannot be.
[[nodiscard]] Machine read_machine(const std::string& path);

}  // namespace sherd::plan
