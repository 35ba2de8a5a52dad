#pragma once
// What passes read: the model's declaration and the policy, with the stage as three booleans.
#include "sherd/data/source.hpp"
#include "sherd/memory/tier.hpp"
#include "sherd/model/spec.hpp"
#include "sherd/optim/config.hpp"
#include "sherd/plan/config.hpp"
#include "sherd/shard/layout.hpp"

namespace sherd::plan {

using memory::Tier;

/// Element types of the states; `master` false where the stored parameter is the master.
struct Formats {
  DType param = DType::f32, grad = DType::f32;
  bool packs_frozen = false;  // frozen parameters are stored as q8, and `param` only while used
  bool master = false;
  DType master_type = DType::f32;  // u16: what the stored parameter leaves of it (split)
  int moments = 2;
  DType moment_type = DType::f32;

  [[nodiscard]] Bytes param_bytes() const { return size_of(param); }
  [[nodiscard]] Bytes grad_bytes() const { return size_of(grad); }
  /// Of one parameter; 8-bit moments carry a scale for 256.
  [[nodiscard]] double optimizer_bytes() const {
    return static_cast<double>(master ? size_of(master_type) : 0) +
           moments * static_cast<double>(bytes_of(moment_type, shard::quantum)) / shard::quantum;
  }
};

/// Where states live, and where they are updated.
struct Homes {
  Tier params = Tier::device, grads = Tier::device, master = Tier::device, moments = Tier::device;
  bool parks_activations = false;  // saved inputs of blocks wait for backward on the host
  double fraction = 1;             // of each shard that is not on the device
  std::uint64_t tile = 1 << 20;    // elements that move at once
  bool updates_on_host = false;

  [[nodiscard]] bool any(Tier tier) const {
    return params == tier || grads == tier || master == tier || moments == tier;
  }
  [[nodiscard]] bool all_on_device() const {
    return !any(Tier::host) && !any(Tier::pinned) && !any(Tier::file);
  }
};

struct Setup {
  model::ModelSpec model;
  shard::Layout layout;
  Rank rank = 0;
  bool shard_params = false, shard_grads = false, shard_optimizer = false;
  bool reduce_every_micro = false;
  std::uint32_t grad_accum = 1;
  Recompute recompute = Recompute::none;
  int prefetch = 1;
  int window = 2;  // 0 with `--overlap off`
  Formats formats{};
  Homes homes{};
  data::SampleShape sample{};
  std::uint32_t eval_batches = 0;  // micro-batches of an evaluation; 0: there is none
  bool saves = false;              // checkpoints, so there is a snapshot
  Bytes snapshot_bytes = 0;        // host memory that a snapshot may take at most, more or less

  [[nodiscard]] int world() const { return layout.world(); }
  /// The tier beside the device's own: a GPU copies from and to pinned memory only.
  [[nodiscard]] Tier host_tier() const {
    return model.target.kind == DeviceKind::cpu ? Tier::host : Tier::pinned;
  }
  [[nodiscard]] bool trains(std::size_t bucket) const { return layout.buckets()[bucket].trainable; }
  [[nodiscard]] bool packs(std::size_t bucket) const {
    return formats.packs_frozen && !trains(bucket);
  }
  /// Elements of a bucket whose optimizer state this rank holds and updates; of a frozen one, that
  /// it loads.
  [[nodiscard]] shard::Range held(std::size_t bucket) const {
    if (trains(bucket) ? shard_optimizer : shard_params) return layout.shard(bucket, rank);
    return {0, layout.buckets()[bucket].numel};
  }
};

/// Layout, formats and policy of a run. A world of one has nothing to shard: every stage is then
/// the same program.
[[nodiscard]] Setup make_setup(model::ModelSpec spec, const ShardingConfig& sharding,
                               const MemoryConfig& memory, const optim::PrecisionConfig& precision,
                               const optim::OptimizerConfig& optimizer, int world);
[[nodiscard]] bool reduces_every_micro(const ShardingConfig& sharding);

}  // namespace sherd::plan
