#pragma once
// `sherd train` in a process of its own, told by its log: what a user would see.
#include <filesystem>
#include <string>
#include <vector>

#include "sherd/base/units.hpp"

namespace sherd::bench {

/// Where child processes come from and may write; whoever may read the environment fills it.
struct Children {
  std::string program = "/proc/self/exe";  // a `sherd`
  std::vector<std::string> environment{};  // "NAME=value" each
  std::filesystem::path folder{};          // for logs and data; not cleared here
};

/// Bytes of one rank by tier; pinned memory counts as the host's.
struct ByTier {
  Bytes device = 0, host = 0, file = 0;
  bool operator==(const ByTier&) const = default;
};

struct SavedStep {
  double stall_seconds = 0;  // that training waited
  Bytes bytes = 0;
};

struct ChildRun {
  double seconds_to_first_step = 0;  // from the start of the process
  std::vector<double> step_seconds{};
  std::vector<double> losses{};
  std::vector<SavedStep> saves{};
  std::string parameters_hash{};
  ByTier planned{}, measured{};  // peaks of a rank
  Bytes runtime = 0;
  Bytes rss_peak = 0;  // of the largest rank
};

/// Runs `sherd train` with `flags` to its end.
///
/// **Order** the child is killed when the calling thread ends.
/// **Errors** Error when it cannot start, ends with another code than 0, or leaves half a log.
[[nodiscard]] ChildRun train_in_child(const Children& children,
                                      const std::vector<std::string>& flags);

/// A file of `count` pseudo-random bytes in the folder, the same every time; made once.
[[nodiscard]] std::string sample_text(const Children& children, std::int64_t count);

}  // namespace sherd::bench
