#pragma once
// What `sherd bench memory` holds against each other: plan, ledger, closed form and process.
#include <optional>
#include <vector>

#include "sherd/bench/child_run.hpp"
#include "sherd/plan/plan.hpp"

namespace sherd::bench {

/// One state of every parameter, as the closed form sees it.
struct StateKind {
  double bytes = 0;    // a parameter
  int split_from = 1;  // the first stage that splits it over ranks
  memory::Tier home = memory::Tier::device;
};

/// What a rank keeps between steps, from a few numbers: the formula of docs/benchmarks.md, which
/// knows nothing of buckets but their count.
struct StateFormula {
  double parameters = 0;  // padded
  int ranks = 1, stage = 0;
  double buckets = 1;
  double fraction = 1;  // of each shard that is not on the device
  double tile = 1;      // parameters of a record
  std::vector<StateKind> kinds;

  /// At most: fractions end at whole quanta and records at whole blocks, once a piece.
  [[nodiscard]] ByTier at_most() const;
};
[[nodiscard]] StateFormula formula_of(const plan::Setup& setup, int stage);

/// A configuration's bytes of one rank, from four sources.
struct MemoryFacts {
  ByTier planned;                  // arenas
  ByTier states, formula;          // of `planned` between steps, and what they may be at most
  std::optional<ByTier> measured;  // by the ledger of a run
  Bytes runtime = 0, rss_peak = 0;

  /// Tiers whose states exceed the formula or whose ledger differs from the plan, and one more for
  /// a process beyond device, host and reserve by 16 MiB and 1 %.
  [[nodiscard]] std::int64_t wrong() const;
};
[[nodiscard]] MemoryFacts facts_of(const plan::Plan& plan, int stage);

[[nodiscard]] ByTier arenas_of(const plan::Plan& plan);

}  // namespace sherd::bench
