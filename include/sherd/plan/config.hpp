#pragma once
// How state is split and what memory there is.
#include <algorithm>
#include <array>
#include <cstdint>

#include "sherd/base/units.hpp"

namespace sherd::plan {

enum class ReduceEvery : std::uint8_t { automatic, step, micro };
enum class Overlap : std::uint8_t { automatic, on, off };
enum class ReduceOrder : std::uint8_t { fast, canonical };
struct ShardingConfig {
  int zero_stage = 0;
  Bytes bucket_bytes = 4 * mib;  // of stored parameters, before a bucket is closed
  ReduceEvery reduce_every = ReduceEvery::automatic;
  int prefetch = 1;  // blocks a gather is issued ahead
  Overlap overlap = Overlap::automatic;
  ReduceOrder reduce_order = ReduceOrder::fast;
};

enum class Recompute : std::uint8_t { none, selective, block };
enum class Offload : std::uint8_t { none, host, file };
enum class OffloadOr : std::uint8_t { automatic, none, host, file };
enum class OffloadActivations : std::uint8_t { none, host };
enum class UpdateOn : std::uint8_t { automatic, device, host };
struct MemoryConfig {
  Recompute recompute = Recompute::none;
  Offload offload_optimizer = Offload::none;         // master weights and moments
  OffloadOr offload_master = OffloadOr::automatic;   // automatic: as the optimizer
  OffloadOr offload_moments = OffloadOr::automatic;  // automatic: as the optimizer
  Offload offload_params = Offload::none;
  OffloadOr offload_grads = OffloadOr::automatic;  // automatic: where the optimizer is
  OffloadActivations offload_activations = OffloadActivations::none;  // saved inputs of blocks
  double offload_fraction = 1;               // of each shard; the rest stays on the device
  std::int64_t offload_tile = 1 << 20;       // elements that move at once
  UpdateOn update_on = UpdateOn::automatic;  // automatic: where the master weights are
  Bytes memory_limit = 0;                    // per rank on the compute device; 0: what is free
  Bytes host_memory_limit = 0;               // all ranks of the machine together; 0: what is free
  bool fit = false;                          // choose what is not given so that it fits
};

/// Where each kind of state was told to live; `automatic` follows another and says nothing itself.
[[nodiscard]] constexpr std::array<OffloadOr, 5> places_asked(const MemoryConfig& m) {
  const auto told = [](Offload to) { return static_cast<OffloadOr>(static_cast<int>(to) + 1); };
  return {told(m.offload_optimizer), told(m.offload_params), m.offload_master, m.offload_moments,
          m.offload_grads};
}
[[nodiscard]] constexpr bool offloads_state(const MemoryConfig& m) {
  const auto places = places_asked(m);
  return std::any_of(places.begin(), places.end(),
                     [](OffloadOr to) { return to > OffloadOr::none; });
}
[[nodiscard]] constexpr bool offloads_to_files(const MemoryConfig& m) {
  const auto places = places_asked(m);
  return std::find(places.begin(), places.end(), OffloadOr::file) != places.end();
}

}  // namespace sherd::plan
