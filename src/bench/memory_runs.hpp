#pragma once
// Where states live in the runs of `sherd bench memory`, and those runs as flags.
#include <functional>
#include <string>
#include <vector>

#include "sherd/launch/job.hpp"

namespace sherd::bench {

struct PlacedStates {
  std::string name;        // "optimizer file"
  bool half_only = false;  // needs 16-bit parameters
  std::function<void(launch::RunConfig&)> apply;
};
/// Resident first. What is on file is in `folder`.
[[nodiscard]] std::vector<PlacedStates> placements(optim::Precision precision,
                                                   const std::string& folder);

[[nodiscard]] plan::Plan plan_of(const launch::RunConfig& config);

/// The flags of `sherd train` that say what differs from the defaults.
[[nodiscard]] std::vector<std::string> flags_of(launch::RunConfig config);

}  // namespace sherd::bench
