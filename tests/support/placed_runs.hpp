#pragma once
// Runs of one numerics key whose states live elsewhere, drawn by number, and what must not differ
// between them.
#include <doctest/doctest.h>

#include <bit>
#include <string>
#include <utility>
#include <vector>

#include "sherd/base/philox.hpp"
#include "sherd/model/lora.hpp"
#include "support/awkward_gpt2.hpp"
#include "support/thread_ranks.hpp"

namespace sherd::test {

/// A numerics key: all that may change a bit and is not the same in every test.
struct Formats {
  const char* name;
  optim::Precision precision = optim::Precision::fp32;
  optim::GradDType grad = optim::GradDType::fp32;
  optim::Master master = optim::Master::fp32;
  optim::Moments moments = optim::Moments::fp32;
  optim::Kind optimizer = optim::Kind::adamw;
  std::int64_t accum = 1;
  bool frozen = false;  // part of the network
  bool adapters = false;
  optim::FrozenDType frozen_dtype = optim::FrozenDType::param;
};

inline constexpr Formats formats[] = {
    {.name = "fp32"},
    {.name = "fp32, accumulated", .accum = 3},
    {.name = "bf16", .precision = optim::Precision::bf16},
    {.name = "bf16 with bf16 gradients, accumulated",
     .precision = optim::Precision::bf16,
     .grad = optim::GradDType::bf16,
     .accum = 3},
    {.name = "split",
     .precision = optim::Precision::bf16,
     .master = optim::Master::split,
     .accum = 2},
    {.name = "bf16 moments", .precision = optim::Precision::bf16, .moments = optim::Moments::bf16},
    {.name = "int8 moments", .moments = optim::Moments::int8},
    {.name = "split with int8 moments and bf16 gradients",
     .precision = optim::Precision::bf16,
     .grad = optim::GradDType::bf16,
     .master = optim::Master::split,
     .moments = optim::Moments::int8},
    {.name = "fp16", .precision = optim::Precision::fp16},
    {.name = "lion",
     .precision = optim::Precision::bf16,
     .moments = optim::Moments::bf16,
     .optimizer = optim::Kind::lion},
    {.name = "sgd with int8 momentum",
     .moments = optim::Moments::int8,
     .optimizer = optim::Kind::sgd},
    {.name = "fp32, partly frozen, accumulated", .accum = 2, .frozen = true},
    {.name = "bf16, partly frozen",
     .precision = optim::Precision::bf16,
     .moments = optim::Moments::int8,
     .frozen = true},
    {.name = "fp16, partly frozen", .precision = optim::Precision::fp16, .frozen = true},
    {.name = "frozen int8", .accum = 2, .frozen = true, .frozen_dtype = optim::FrozenDType::int8},
    {.name = "bf16, frozen int8",
     .precision = optim::Precision::bf16,
     .master = optim::Master::split,
     .frozen = true,
     .frozen_dtype = optim::FrozenDType::int8},
    {.name = "bf16, adapters", .precision = optim::Precision::bf16, .accum = 2, .adapters = true},
    {.name = "adapters on int8", .adapters = true, .frozen_dtype = optim::FrozenDType::int8},
};

inline launch::RunConfig resident(const Formats& f, int world) {
  launch::RunConfig config = awkward_config(world);
  config.precision.precision = f.precision;
  config.precision.grad_dtype = f.grad;
  config.precision.master = f.master;
  config.precision.moments = f.moments;
  config.precision.frozen_dtype = f.frozen_dtype;
  config.optimizer.optimizer = f.optimizer;
  if (f.frozen) config.model.freeze = {"embed.*", "*.qkv_weight", "layer1.mlp.*", "head.ln_gamma"};
  if (f.adapters) {
    config.model.lora_rank = 3;
    config.model.lora_targets = {"all"};
  }
  config.batch.grad_accum = f.accum;
  config.sharding.reduce_every = plan::ReduceEvery::micro;
  return config;
}

/// What a placed run trains.
inline launch::Job placed_job(const launch::RunConfig& config) {
  model::Gpt2Config network = awkward_gpt2(3);
  const bool adapts = config.model.lora_rank > 0;
  if (adapts) network.lora = {config.model.lora_rank, 16, ~0U};
  launch::Job job = awkward_job(network, one_and_a_half_batches(config), config.model.freeze);
  if (adapts) job.model.frozen = [](std::string_view name) { return !model::is_adapter(name); };
  return job;
}

class Draw {
 public:
  explicit Draw(std::uint64_t seed) : bits_(mix(seed)) {}
  template <class T>
  T one(std::initializer_list<T> of) {
    bits_ = mix(bits_);
    return of.begin()[bits_ % of.size()];
  }

 private:
  std::uint64_t bits_;
};

/// The same key with other placements.
inline launch::RunConfig moved(launch::RunConfig config, std::uint64_t seed,
                               const std::string& folder) {
  Draw draw(seed);
  using plan::Offload;
  using plan::OffloadOr;
  plan::MemoryConfig& m = config.memory;
  const std::initializer_list<OffloadOr> places = {OffloadOr::none, OffloadOr::host,
                                                   OffloadOr::file};
  if (config.precision.precision != optim::Precision::fp32) m.offload_master = draw.one(places);
  m.offload_moments = draw.one(places);
  m.offload_grads = draw.one(places);
  m.offload_params = draw.one({Offload::none, Offload::host, Offload::file});
  m.offload_activations =
      draw.one({plan::OffloadActivations::none, plan::OffloadActivations::host});
  m.offload_fraction = draw.one({0.3, 1.0});
  m.offload_tile = draw.one<std::int64_t>({1280, 4096, 1 << 20});
  m.update_on = plan::UpdateOn::automatic;
  const bool any = m.offload_master > OffloadOr::none || m.offload_moments > OffloadOr::none ||
                   m.offload_grads > OffloadOr::none || m.offload_params != Offload::none;
  if (!any) m.offload_fraction = 1;
  if (m.offload_moments != OffloadOr::none)
    m.update_on = draw.one({plan::UpdateOn::device, plan::UpdateOn::host});
  m.recompute =
      draw.one({plan::Recompute::none, plan::Recompute::selective, plan::Recompute::block});
  config.sharding.zero_stage = draw.one({0, 1, 2, 3});
  config.sharding.overlap = draw.one({plan::Overlap::on, plan::Overlap::off});
  config.sharding.prefetch = draw.one({0, 1, 3});
  config.sharding.bucket_bytes = draw.one({Bytes{1}, 60 * kib, 4 * mib});
  const bool file = m.offload_master == OffloadOr::file || m.offload_moments == OffloadOr::file ||
                    m.offload_grads == OffloadOr::file || m.offload_params == Offload::file;
  if (!file) return config;
  config.file_tier.offload_dir = folder;
  config.file_tier.offload_dir_any = true;
  config.file_tier.io_engine = draw.one({io::IoEngine::automatic, io::IoEngine::threads});
  return config;
}

inline std::string text_of(const launch::RunConfig& c) {
  const plan::MemoryConfig& m = c.memory;
  std::string text = "stage " + std::to_string(c.sharding.zero_stage);
  const std::pair<const char*, int> settings[] = {
      {"overlap", static_cast<int>(c.sharding.overlap)},
      {"prefetch", c.sharding.prefetch},
      {"bucket", static_cast<int>(c.sharding.bucket_bytes)},
      {"recompute", static_cast<int>(m.recompute)},
      {"master", static_cast<int>(m.offload_master)},
      {"moments", static_cast<int>(m.offload_moments)},
      {"grads", static_cast<int>(m.offload_grads)},
      {"params", static_cast<int>(m.offload_params)},
      {"activations", static_cast<int>(m.offload_activations)},
      {"percent", static_cast<int>(100 * m.offload_fraction)},
      {"tile", static_cast<int>(m.offload_tile)},
      {"update on", static_cast<int>(m.update_on)},
      {"engine", static_cast<int>(c.file_tier.io_engine)}};
  for (const auto& [name, value] : settings)
    text += std::string(", ") + name + " " + std::to_string(value);
  return text;
}

struct Bits {
  std::string hash, key;
  std::vector<std::uint64_t> numbers;  // loss, norm and scale of each step
  int skipped = 0;
  std::vector<engine::PhaseReport> phases;
};

/// Where a run computes; the CPU unless a library is named.
struct On {
  std::string device_library{};
  engine::Replay replay = engine::Replay::where_it_can;
};

/// Trains, and checks that every tier holds what was planned, to the byte.
inline Bits bits_of(const launch::RunConfig& config, const On& on = {}) {
  ThreadRun run{.config = config, .job = [&](Rank) {
                  launch::Job job = placed_job(config);
                  job.validate = std::make_unique<MadeTokens>(5, 5);
                  return job;
                }};
  run.device_library = on.device_library;
  run.replay = on.replay;
  ThreadRanks ranks(run);
  std::vector<engine::PhaseReport> phases;
  std::vector<double> losses(static_cast<std::size_t>(ranks.world()));
  std::vector<RankResult> results(losses.size());
  rethrow(ranks.run([&](ThreadRank& seat) {
    RankResult& result = results[static_cast<std::size_t>(seat.rank)];
    while (seat.engine.steps() < seat.prepared.steps) result.steps.push_back(seat.engine.step());
    losses[static_cast<std::size_t>(seat.rank)] = seat.engine.evaluate();
    result.hash = seat.engine.parameters_hash();
    if (seat.rank == 0) phases = seat.engine.phases();
    for (int tier = 0; tier < memory::tiers; ++tier) {
      const auto at = static_cast<std::size_t>(tier);
      const memory::TierUse use = seat.engine.ledger().measured(static_cast<memory::Tier>(tier));
      CHECK(use.arena == seat.prepared.plan.memory.arena[at]);
      CHECK(use.peak == seat.prepared.plan.memory.peak[at]);
    }
  }));
  Bits bits{results[0].hash, ranks.prepared(0).policy_key, {}, 0, std::move(phases)};
  for (const engine::StepResult& step : results[0].steps) {
    bits.skipped += step.skipped ? 1 : 0;
    for (const double x : {step.loss, step.grad_norm, step.loss_scale})
      bits.numbers.push_back(std::bit_cast<std::uint64_t>(x));
  }
  bits.numbers.push_back(std::bit_cast<std::uint64_t>(losses[0]));
  for (const RankResult& other : results) CHECK(other.hash == bits.hash);
  return bits;
}

}  // namespace sherd::test
