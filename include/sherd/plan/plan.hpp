#pragma once
// A run's programs with their bytes and waits: what engine, simulator and `sherd plan` are given.
#include <optional>

#include "sherd/plan/passes.hpp"
#include "sherd/plan/place.hpp"

namespace sherd::plan {

struct Scheduled {
  Program program;
  std::vector<Placement> at;
  std::vector<Wait> waits;
};

/// Payload bytes one rank sends in one step, by kind of collective.
struct Wire {
  Bytes all_gather = 0, reduce_scatter = 0, all_reduce = 0;
};

/// Bytes one rank moves between tiers in one step; of records with their headers and padding.
struct Moves {
  Bytes to_device = 0, from_device = 0, read = 0, written = 0;  // by copies; in files
};

struct Plan {
  Setup setup;
  Scheduled train;
  std::optional<Scheduled> evaluate, snapshot;
  MemoryPlan memory;
  Bytes runtime = 0;  // reserve for what libraries take

  [[nodiscard]] Bytes need(
      Tier tier) const;  // arena; on the device with the reserve, on the host with what is pinned
};

[[nodiscard]] Plan make_plan(Setup setup);

/// Sum over a program's emitted collectives. The formulas of docs/architecture.md are its upper
/// bound.
[[nodiscard]] Wire wire_bytes(const Program& program, int world);
/// Sum over a program's fetches and evictions.
[[nodiscard]] Moves moved_bytes(const Program& program);
/// Persistent bytes of a rank in a tier by use, from the placed buffers.
[[nodiscard]] ByUse persistent_bytes(const Program& program, Tier tier = Tier::device);

/// One line a step: what it reads, writes and waits for. Stable, for golden listings.
[[nodiscard]] std::string listing(const Scheduled& scheduled);

}  // namespace sherd::plan
