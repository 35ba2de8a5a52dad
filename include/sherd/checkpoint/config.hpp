#pragma once
// Whether, where and when a run is saved, and what it goes on from.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sherd/base/units.hpp"

namespace sherd::checkpoint {

struct CheckpointConfig {
  std::string save;              // folder of this run's checkpoints; empty: none
  std::string save_every = "0";  // steps, or auto; 0: only at the end
  std::int64_t keep = 0;         // newest ones that stay; 0: all
  std::string resume = "none";   // a checkpoint, latest, or none: start anew
  Bytes save_memory = 64 * mib;  // host memory a rank's snapshot may take; the rest waits for disk
  double failures_per_day = 1;   // of the whole job, for auto
};

[[nodiscard]] inline bool resumes(const CheckpointConfig& c) { return c.resume != "none"; }

struct SaveEvery {
  bool automatic = false;
  std::uint64_t steps = 0;  // 0: only at the end
};
/// Nothing unless it is a number of steps or auto.
[[nodiscard]] std::optional<SaveEvery> parse_save_every(std::string_view text);

/// The interval that loses least time when saving costs `cost` of it: sqrt(2 · cost · mean time
/// between failures). **Units** seconds. **Source** Young 1974; Daly 2006, §2.
[[nodiscard]] double best_interval(double cost, double failures_per_day);

}  // namespace sherd::checkpoint
