#pragma once
// How state is split and what memory there is.
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
struct MemoryConfig {
  Recompute recompute = Recompute::none;
  Bytes memory_limit = 0;       // per rank on the compute device; 0: what is free
  Bytes host_memory_limit = 0;  // all ranks of the machine together; 0: what is free
};

}  // namespace sherd::plan
