#pragma once
// The largest GPT-2 that trains within given memory: found by planning, nothing is run.
#include <span>
#include <string>
#include <vector>

#include "sherd/bench/child_run.hpp"
#include "sherd/bench/training.hpp"
#include "sherd/memory/tier.hpp"
#include "sherd/model/gpt2.hpp"

namespace sherd::bench {

/// GPT-2 of any depth: width = max(512 + 64/3 · layers, 100/3 · layers) in whole heads of 64. The
/// four published sizes lie on it; from 48 layers on it keeps the ratio of the largest.
[[nodiscard]] model::Gpt2Config gpt2_of(std::int64_t layers);
[[nodiscard]] double parameters_of(const model::Gpt2Config& network);

/// Where the states of a network live: on the devices, or a part of all of them on `home` with
/// inputs of blocks on the host.
struct Placing {
  int ranks = 1;  // more than one: stage 3
  memory::Tier home = memory::Tier::device;
  double fraction = 1;  // of each shard that lives on `home`
  [[nodiscard]] std::string name() const;
};

/// Bytes the plan needs for one sequence of 1024 tokens a rank in bf16 with recompute, on a CUDA
/// device: of a rank on the device, of all ranks on host and file.
[[nodiscard]] ByTier need_of(const model::Gpt2Config& network, const Placing& placing);

struct LargestModel {
  ByTier limits;  // device: of one rank; host, file: of the machine; 0: not stated
  Placing placing;
  model::Gpt2Config network;  // no layers: not even one fits
  double parameters = 0;
  ByTier need;
  double seconds = 0;  // the search took
};
/// One of each placing for each set of limits it can use; quick: fewer sets.
[[nodiscard]] std::vector<LargestModel> largest_models(bool quick, const Say& say);

/// `wrong` counts tiers whose need is over the limit.
[[nodiscard]] Row row_of(const LargestModel& largest);

/// Parameters by limits and placing: a group of bars for each device limit, logarithmic.
[[nodiscard]] std::string draw(std::span<const LargestModel> all);

}  // namespace sherd::bench
