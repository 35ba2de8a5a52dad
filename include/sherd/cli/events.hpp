#pragma once
// What a run reports: plain data, one struct per event of `--log`.
#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sherd/base/units.hpp"
#include "sherd/launch/run_config.hpp"

namespace sherd::cli {

/// Bytes of one tier at its peak; `peak` is the sum of the uses and of what placement leaves
/// unused between them, `runtime` stands apart.
struct TierBytes {
  Bytes peak = 0, runtime = 0;
  Bytes params = 0, grads = 0, optimizer = 0, activations = 0, comm = 0, staging = 0, control = 0;
  Bytes unused = 0;
};

struct BytesColumn {
  std::string_view name;  // key in events and plans, row in tables
  Bytes TierBytes::*member;
};
inline constexpr std::array<BytesColumn, 10> bytes_columns = {
    {{"peak", &TierBytes::peak},
     {"runtime", &TierBytes::runtime},
     {"params", &TierBytes::params},
     {"grads", &TierBytes::grads},
     {"optimizer", &TierBytes::optimizer},
     {"activations", &TierBytes::activations},
     {"comm", &TierBytes::comm},
     {"staging", &TierBytes::staging},
     {"control", &TierBytes::control},
     {"unused", &TierBytes::unused}}};

/// Bytes of one rank by tier.
struct MemoryTable {
  TierBytes device, host, file;
};

struct TierColumn {
  std::string_view name;
  TierBytes MemoryTable::*member;
};
inline constexpr std::array<TierColumn, 3> tier_columns = {
    {{"device", &MemoryTable::device}, {"host", &MemoryTable::host}, {"file", &MemoryTable::file}}};

/// Payload bytes sent by rank 0.
struct WireBytes {
  Bytes all_gather = 0, reduce_scatter = 0, all_reduce = 0;
};

inline constexpr double not_measured = std::numeric_limits<double>::quiet_NaN();

struct StartEvent {
  launch::RunConfig config;
  std::string numerics_key;
  std::uint64_t parameters = 0;
  int world = 1;
  std::vector<std::int64_t> pids;  // by rank
  MemoryTable plan;
  std::string io_engine{};  // where something is on file
  std::uint64_t resumed_step = 0;
  std::string resumed_from{};  // folder; empty: started anew
};

struct StepEvent {
  std::int64_t step = 0;  // from 1
  double loss = not_measured;
  double grad_norm = not_measured;
  double lr = 0;
  double loss_scale = 1;
  bool skipped = false;
  std::uint64_t tokens = 0;
  double seconds = 0;
  double tokens_per_second = 0;
};

struct EvalEvent {
  std::int64_t step = 0;
  double loss = not_measured;
};

struct CheckpointEvent {
  std::uint64_t step = 0;
  std::string path;
  Bytes bytes = 0;
  double stall_seconds = 0;   // that training waited
  double commit_seconds = 0;  // from there until it was durable
};

struct EndEvent {
  std::int64_t steps = 0;
  double loss = not_measured;
  std::string parameters_hash;
  WireBytes wire_bytes;
  MemoryTable peak;  // measured, as the plan
  Bytes rss_peak = 0;
  double seconds = 0;
  std::optional<Bytes> device_growth{};  // on a device: memory in use that came after step 2
};

}  // namespace sherd::cli
