#include "sherd/plan/setup.hpp"

#include <algorithm>

namespace sherd::plan {
namespace {

// Parameters by layer, in order of declaration: a layer's blocks follow each other.
std::vector<shard::Unit> units_of(const model::ModelSpec& spec) {
  std::vector<shard::Unit> units;
  std::string layer;
  for (const model::ParamSpec& param : spec.params) {
    const std::string& home = spec.blocks[param.home].layer;
    if (units.empty() || home != layer || units.back().trainable != param.trainable)
      units.push_back({home, {}, param.trainable});
    layer = home;
    units.back().numels.push_back(static_cast<std::uint64_t>(param.shape.numel()));
  }
  return units;
}

Formats formats_of(const optim::PrecisionConfig& precision,
                   const optim::OptimizerConfig& optimizer) {
  Formats formats;
  if (precision.precision == optim::Precision::bf16) formats.param = DType::bf16;
  if (precision.precision == optim::Precision::fp16) formats.param = DType::f16;
  formats.master = formats.param != DType::f32;
  if (precision.grad_dtype == optim::GradDType::bf16) formats.grad = DType::bf16;
  if (formats.master && precision.master == optim::Master::split) formats.master_type = DType::u16;
  if (precision.moments == optim::Moments::bf16) formats.moment_type = DType::bf16;
  if (precision.moments == optim::Moments::int8) formats.moment_type = DType::q8;
  formats.packs_frozen = precision.frozen_dtype == optim::FrozenDType::int8;
  if (optimizer.optimizer == optim::Kind::lion) formats.moments = 1;
  if (optimizer.optimizer == optim::Kind::sgd) formats.moments = optimizer.beta1 > 0 ? 1 : 0;
  return formats;
}

Tier tier_of(Offload place, Tier host) {
  if (place == Offload::none) return Tier::device;
  return place == Offload::host ? host : Tier::file;
}
Tier tier_of(OffloadOr place, Tier otherwise, Tier host) {
  if (place == OffloadOr::automatic) return otherwise;
  return tier_of(static_cast<Offload>(static_cast<int>(place) - 1), host);
}

// Without a master of its own a parameter is its master: both live where parameters do.
Homes homes_of(const MemoryConfig& memory, const Formats& formats, Tier host) {
  Homes homes;
  if (memory.offload_fraction == 0) return homes;
  const Tier optimizer = tier_of(memory.offload_optimizer, host);
  homes.params = tier_of(memory.offload_params, host);
  homes.master = formats.master ? tier_of(memory.offload_master, optimizer, host) : homes.params;
  if (formats.moments > 0) homes.moments = tier_of(memory.offload_moments, optimizer, host);
  homes.grads = tier_of(memory.offload_grads, formats.master ? homes.master : optimizer, host);
  homes.fraction = memory.offload_fraction;
  homes.tile = static_cast<std::uint64_t>(memory.offload_tile);
  homes.updates_on_host = memory.update_on == UpdateOn::host ||
                          (memory.update_on == UpdateOn::automatic && homes.master != Tier::device);
  return homes;
}

}  // namespace

bool reduces_every_micro(const ShardingConfig& sharding) {
  if (sharding.reduce_order == ReduceOrder::canonical) return true;
  if (sharding.reduce_every == ReduceEvery::automatic) return sharding.zero_stage >= 2;
  return sharding.reduce_every == ReduceEvery::micro;
}

Setup make_setup(model::ModelSpec spec, const ShardingConfig& sharding, const MemoryConfig& memory,
                 const optim::PrecisionConfig& precision, const optim::OptimizerConfig& optimizer,
                 int world) {
  const Formats formats = formats_of(precision, optimizer);
  const std::vector<shard::Unit> units = units_of(spec);
  const std::uint64_t elements =
      std::max<std::uint64_t>(1, sharding.bucket_bytes / formats.param_bytes());
  Setup setup{std::move(spec), shard::Layout(units, elements, world)};
  const int stage = world > 1 ? sharding.zero_stage : 0;
  setup.shard_optimizer = stage >= 1;
  setup.shard_grads = stage >= 2;
  setup.shard_params = stage >= 3;
  setup.reduce_every_micro = reduces_every_micro(sharding);
  setup.recompute = memory.recompute;
  setup.prefetch = sharding.prefetch;
  setup.window = sharding.overlap == Overlap::on ? 2 : 0;
  setup.formats = formats;
  setup.homes = homes_of(memory, formats, setup.host_tier());
  setup.homes.parks_activations = memory.offload_activations == OffloadActivations::host;
  return setup;
}

}  // namespace sherd::plan
