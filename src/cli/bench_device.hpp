#pragma once
// `sherd bench --device`: which device is meant, and its rows.
#include <optional>
#include <string>
#include <vector>

#include "sherd/bench/device.hpp"
#include "sherd/cli/commands.hpp"
#include "sherd/launch/rank_environment.hpp"
#include "sherd/launch/run_config.hpp"

namespace sherd::cli {

/// The devices a bench may use.
struct BenchDevices {
  launch::Devices found;
  std::optional<int> index;  // the one named

  [[nodiscard]] int of(Rank rank) const { return index.value_or(rank % found.count); }
  [[nodiscard]] std::string name() const { return "cuda:" + std::to_string(of(0)); }
  [[nodiscard]] device::OpenDevice open(Rank rank = 0) const {
    return device::open_device(found.library, of(rank));
  }
};

/// Nothing where the CPU is meant.
///
/// **Errors** ConfigError with the driver's reason when `device` cannot be used, or has no rows.
[[nodiscard]] std::optional<BenchDevices> bench_devices(Bench what, const std::string& device);

/// Of one rank's seat among two: through `local`, and NCCL where each has a device of its own.
[[nodiscard]] std::vector<sherd::bench::Row> device_comm_rows(
    const launch::RankEnvironment& seat, const BenchDevices& devices,
    const sherd::bench::BenchOptions& options);

}  // namespace sherd::cli
