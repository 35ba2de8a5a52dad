#pragma once
// Everything a run is told: the aggregate of the modules' own configs, and the proof that it makes
// sense.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sherd/checkpoint/config.hpp"
#include "sherd/comm/config.hpp"
#include "sherd/data/config.hpp"
#include "sherd/device/target.hpp"
#include "sherd/io/config.hpp"
#include "sherd/model/config.hpp"
#include "sherd/optim/config.hpp"
#include "sherd/plan/config.hpp"

namespace sherd::launch {

struct OutputConfig {
  std::string log;       // JSON lines, one event each
  std::string trace;     // Chrome trace of rank 0
  bool quiet = false;    // no progress, only warnings
  bool dry_run = false;  // print the plan, then stop
};

struct RunConfig {
  model::ModelConfig model;
  data::DataConfig data;
  data::BatchConfig batch;
  comm::RanksConfig ranks;
  plan::ShardingConfig sharding;
  optim::PrecisionConfig precision;
  optim::OptimizerConfig optimizer;
  plan::MemoryConfig memory;
  io::FileTierConfig file_tier;
  checkpoint::CheckpointConfig checkpoint;
  OutputConfig output;
};

/// A plan needs no end; training needs steps or epochs.
enum class Purpose : std::uint8_t { train, plan };

/// Every problem of `config`, one sentence each; empty when there is none. Opens no file.
[[nodiscard]] std::vector<std::string> check(const RunConfig& config,
                                             Purpose purpose = Purpose::train);

struct ResolvedBatch {
  data::BatchConfig batch;  // micro, accum and global are positive when there is no problem
  std::string problem;      // states the equation with its numbers; empty when it holds
};

/// Works out what is left out of global = micro · accum · world: micro is 8 when neither it nor
/// global is given, accum is 1 when the others do not fix it. Division must be exact.
[[nodiscard]] ResolvedBatch resolve_batch(const data::BatchConfig& batch, int world);

/// What `--device` names.
struct DeviceChoice {
  std::optional<DeviceKind> kind;  // nothing: auto
  std::optional<int> index;        // of the first rank's device; nothing: one device a rank
};
/// Nothing unless it is auto, cpu, cuda or cuda:INDEX.
[[nodiscard]] std::optional<DeviceChoice> parse_device(std::string_view text);

/// The devices `--device` may choose from; launch/devices.hpp finds them.
struct Devices {
  std::string library;  // path of the one that drives them
  int count = 0;
  std::string why_none = "no device was looked for";  // when count is 0, in the driver's own words
  bool has_driver = false;                            // so that a user may expect a device to work
  std::string why_no_nccl;                            // empty: NCCL can be loaded
  std::string name;                                   // of the one asked for, else the first
  std::string path_f32, path_16;                      // its products by operands
};

/// A config that check() found no fault with and whose `auto` values are chosen: batch sizes,
/// reduce_every, backend and device. Left as they are, for whoever knows the machine or model:
/// threads, overlap, memory limits, seq_len, and steps when epochs are given.
class Validated {
 public:
  const RunConfig& operator*() const { return config_; }
  const RunConfig* operator->() const { return &config_; }
  /// As it was given, `auto` and all: what another choice of flags starts from.
  const RunConfig& asked() const { return asked_; }
  [[nodiscard]] const Devices& devices() const { return devices_; }
  [[nodiscard]] bool on_device() const { return config_.ranks.device != "cpu"; }
  /// The device of a rank: the index given, else its own rank, round and round. -1: the CPU.
  [[nodiscard]] int device_of(Rank rank) const;

 private:
  friend Validated resolve(RunConfig config, Purpose purpose, Devices devices);
  Validated(RunConfig asked, RunConfig config, Devices devices)
      : asked_(std::move(asked)), config_(std::move(config)), devices_(std::move(devices)) {}
  RunConfig asked_, config_;
  Devices devices_;
};

/// A plan may be for devices that are not here; training needs them.
///
/// **Errors** ConfigError with everything check() found.
[[nodiscard]] Validated resolve(RunConfig config, Purpose purpose = Purpose::train,
                                Devices devices = {});

}  // namespace sherd::launch
