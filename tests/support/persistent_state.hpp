#pragma once
// What a rank keeps from step to step, read from its arena between steps.
#include <vector>

#include "sherd/base/poison.hpp"
#include "support/thread_ranks.hpp"

namespace sherd::test {

/// Bytes of all persistent buffers for `use`, in program order. Of parameters that every rank
/// stores but one updates (stages 1 and 2), the owned slice: the rest is stale until gathered.
[[nodiscard]] inline std::vector<std::byte> persistent_bytes(const ThreadRank& seat,
                                                             memory::Use use) {
  const plan::Plan& plan = seat.prepared.plan;
  const plan::Setup& setup = plan.setup;
  const bool guarded = poison_works() && !seat.prepared.overlap;
  if (guarded) unpoison(seat.arena);
  std::vector<std::byte> bytes;
  for (std::size_t b = 0; b < plan.train.program.buffers.size(); ++b) {
    const plan::Buffer& buffer = plan.train.program.buffers[b];
    if (!buffer.persistent || buffer.use != use) continue;
    std::span<const std::byte> part = seat.arena.subspan(plan.train.at[b].offset, buffer.size);
    if (use == memory::Use::params && setup.shard_optimizer && !setup.shard_params) {
      const Bytes slice = buffer.size / static_cast<Bytes>(setup.world());
      part = part.subspan(slice * static_cast<Bytes>(seat.rank), slice);
    }
    bytes.insert(bytes.end(), part.begin(), part.end());
  }
  if (guarded) poison(seat.arena);
  return bytes;
}

}  // namespace sherd::test
