#pragma once
// The fastest configuration that fits: by plans for the bytes and by the simulator for the time.
#include <limits>
#include <string>
#include <vector>

#include "sherd/launch/job.hpp"
#include "sherd/plan/machine.hpp"

namespace sherd::launch {

struct SearchOptions {
  plan::Machine machine;
  Limits limits{};
  int ranks_a_machine = 1;           // that share `limits.host` and `limits.files`
  std::vector<std::string> given{};  // keys of a config that stay as they are
  bool may_change_numerics = false;  // micro-batch x accumulation too, at the same global batch
  std::size_t most_plans = 400;      // of which all combinations are tried if they are no more
  std::size_t runners_up = 5;        // named of each kind
};

struct Candidate {
  RunConfig config;   // to be resolved like one that flags gave
  std::string flags;  // that differ from what was asked; empty: none
  std::string why;    // it did not win; empty: it did
  double seconds = std::numeric_limits<double>::infinity();  // of a step, by the simulator
  Limits needs{};
  double excess = std::numeric_limits<double>::infinity();  // largest need / limit; fits up to 1
  int changes = 0;                                          // values that are not as asked
  [[nodiscard]] bool fits() const { return excess <= 1; }
};

struct SearchResult {
  std::vector<Candidate> found;  // the winner first, if any fits; then by how near they came
  std::size_t planned = 0;       // configurations that were planned
  double combinations = 0;       // there are, of what was not given
  [[nodiscard]] bool any_fits() const { return !found.empty() && found.front().fits(); }
};

/// Over stage, placements and their fraction, recompute, bucket bytes and prefetch, in as far as
/// they were not given. The numerics key stays as it was unless asked otherwise.
///
/// **Order** deterministic: the same arguments give the same result.
[[nodiscard]] SearchResult search(const Validated& run, const Job& job,
                                  const SearchOptions& options);

/// Limits that flags state, else the machine's where it states them, else what is free here.
[[nodiscard]] SearchOptions search_options(const Validated& run, const plan::Machine& machine);

/// Keys whose flag is among `arguments`, and those whose value is not the usual one.
[[nodiscard]] std::vector<std::string> given_keys(const RunConfig& config,
                                                  const std::vector<std::string>& arguments);

}  // namespace sherd::launch
