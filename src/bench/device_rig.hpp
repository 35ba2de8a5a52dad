#pragma once
// Kernels on a device, timed back to back and held against a bound of the same minutes.
#include <functional>
#include <string>
#include <vector>

#include "bench/device_place.hpp"
#include "sherd/bench/rows.hpp"

namespace sherd::bench {

/// A kernel at one size: what to launch, and what that must at least read, write or compute.
struct Launch {
  Pass pass;
  double work = 0;
};

struct DeviceCase {
  std::string name;
  std::int64_t size = 0, small = 0;  // timed, and compared with the CPU: rows or elements
  std::function<Launch(Place& place, std::int64_t size)> build;
  std::vector<Extra> extra{};
};

class DeviceRig {
 public:
  DeviceRig(const device::OpenDevice& device, const BenchOptions& options);

  /// Against device-to-device copies, which take turns with it. Operands rotate through more memory
  /// than a cache holds.
  [[nodiscard]] Row against_copy(const DeviceCase& what);
  /// FLOP/s against `bound` FLOP/s (0: none).
  [[nodiscard]] Row against_rate(const DeviceCase& what, const std::string& name, double bound);

  /// Elements off the CPU's at the small size.
  [[nodiscard]] std::int64_t differing(const DeviceCase& what);
  [[nodiscard]] const std::vector<Extra>& origin() const { return origin_; }
  [[nodiscard]] const BenchOptions& options() const { return options_; }
  [[nodiscard]] device::Stream& stream() { return stream_; }

 private:
  using Passes = std::vector<Pass>;  // one after the other, round and round
  /// Of one launch, the host's share hidden behind the others of its batch.
  [[nodiscard]] std::vector<Timing> time(std::span<const Passes> all);
  [[nodiscard]] double seconds(const Passes& passes, int launches);
  [[nodiscard]] Row row_of(const DeviceCase& what, const Launch& launch, const Timing& time);

  BenchOptions options_;
  device::Stream stream_, host_;
  std::vector<Extra> origin_;
};

[[nodiscard]] std::vector<Row> device_elementwise(DeviceRig& rig);
[[nodiscard]] std::vector<Row> device_by_rows(DeviceRig& rig);
[[nodiscard]] std::vector<Row> device_gradients(DeviceRig& rig);
/// Adds the products of each model, then attention against the fastest of them.
[[nodiscard]] std::vector<Row> device_products(DeviceRig& rig);
[[nodiscard]] std::vector<Row> device_attention(DeviceRig& rig, std::span<const Row> products);

}  // namespace sherd::bench
