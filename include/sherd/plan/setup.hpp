#pragma once
// What passes read: the model's declaration and the policy, with the stage as three booleans.
#include "sherd/data/source.hpp"
#include "sherd/model/spec.hpp"
#include "sherd/optim/config.hpp"
#include "sherd/plan/config.hpp"
#include "sherd/shard/layout.hpp"

namespace sherd::plan {

/// Element types of the states; `master` false where the stored parameter is the master.
struct Formats {
  DType param = DType::f32, grad = DType::f32;
  bool master = false;
  int moments = 2;

  [[nodiscard]] Bytes param_bytes() const { return size_of(param); }
  [[nodiscard]] Bytes grad_bytes() const { return size_of(grad); }
  [[nodiscard]] Bytes optimizer_bytes() const {
    return 4 * (static_cast<Bytes>(moments) + (master ? 1 : 0));
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
  data::SampleShape sample{};
  std::uint32_t eval_batches = 0;  // micro-batches of an evaluation; 0: there is none

  [[nodiscard]] int world() const { return layout.world(); }
  /// Elements of a bucket whose optimizer state this rank holds and updates.
  [[nodiscard]] shard::Range held(std::size_t bucket) const {
    if (shard_optimizer) return layout.shard(bucket, rank);
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
