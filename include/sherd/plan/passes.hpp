#pragma once
// Each pass takes a program to a program; `check` holds before and after each. Only passes know the
// policy.
#include "sherd/plan/program.hpp"
#include "sherd/plan/setup.hpp"

namespace sherd::plan {

/// One rank, everything resident: feed, forward, loss, backward per micro-step, then one update per
/// bucket.
[[nodiscard]] Program emit_train(const Setup& setup);
/// Forward and loss only, then the vote.
[[nodiscard]] Program emit_evaluate(const Setup& setup);

/// Drops saves of forward and rebuilds them before, or in, backward.
[[nodiscard]] Program recompute(Program program, const Setup& setup);
/// Where a rank holds only its shard of the parameters' current values, gathers; where it holds
/// frozen ones as 8-bit blocks, widens them: at most two of each a bucket and micro-step.
[[nodiscard]] Program residency(Program program, const Setup& setup);
/// Sums gradients over ranks right after a bucket's last writer, once a micro-step or once a step.
[[nodiscard]] Program reduce(Program program, const Setup& setup);
/// Norm after the last reduce, vote, decide, and updates by tiles of what this rank owns.
[[nodiscard]] Program update(Program program, const Setup& setup);
/// Cuts states that live on host or file: copies of them on the device from first to last use, and
/// updates by tiles that arrive and leave while others compute.
[[nodiscard]] Program tiers(Program program, const Setup& setup);
/// Saved inputs of blocks wait for backward on the host.
[[nodiscard]] Program activations(Program program, const Setup& setup);
/// On a device, pinned host memory beside what feed and decide exchange with the host.
[[nodiscard]] Program mirror(Program program, const Setup& setup);
/// Issues gathers and fetches `prefetch` compute steps earlier, inside their phase.
[[nodiscard]] Program hoist(Program program, const Setup& setup);

/// Every problem: accesses outside buffers, reads before any write, transients that cross a phase,
/// empty phases.
[[nodiscard]] std::vector<std::string> check(const Program& program);

/// All passes, each checked. **Errors** UsageError naming the pass and its problems.
[[nodiscard]] Program train_program(const Setup& setup);
[[nodiscard]] Program evaluate_program(const Setup& setup);

/// Copies of what this rank owns, for a checkpoint: each step puts a tile without its padding into
/// the ring "snapshot" (`to`, in two parts where it wraps; `from` has the State as index). What the
/// last step puts there is `frame`: zeros up to the ring's end, where there is less than it holds.
[[nodiscard]] Program snapshot_program(const Setup& setup, const Program& train);
/// Bytes of the ring, the same on all ranks: what was asked for, at least two tiles, at most all
/// that a rank owns.
[[nodiscard]] Bytes snapshot_ring(const Setup& setup);

}  // namespace sherd::plan
