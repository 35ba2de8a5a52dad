#pragma once
// A program's buffers as the ledger wants them.
#include <vector>

#include "sherd/memory/ledger.hpp"
#include "sherd/plan/plan.hpp"

namespace sherd::engine {

[[nodiscard]] inline std::vector<memory::Entry> entries_of(const plan::Scheduled& scheduled) {
  std::vector<memory::Entry> entries;
  for (std::size_t b = 0; b < scheduled.program.buffers.size(); ++b) {
    const plan::Buffer& buffer = scheduled.program.buffers[b];
    const plan::Placement& at = scheduled.at[b];
    entries.push_back({buffer.tier, buffer.use, at.offset, at.born, at.dies, buffer.persistent});
  }
  return entries;
}

}  // namespace sherd::engine
