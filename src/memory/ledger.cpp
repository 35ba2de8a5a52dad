#include "sherd/memory/ledger.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

namespace sherd::memory {

std::size_t Ledger::add(std::vector<Entry> entries, std::uint32_t steps) {
  std::vector<Bytes> extent(entries.size(), 0);
  programs_.push_back({std::move(entries), std::move(extent), steps});
  return programs_.size() - 1;
}

TierUse Ledger::measured(Tier tier) const {
  TierUse result;
  // What is persistent lives in every program, known by its place; programs touch it differently.
  std::map<Bytes, std::pair<std::size_t, Bytes>> persistent;  // by offset: use and extent
  for (const Program& program : programs_) {
    for (std::size_t i = 0; i < program.entries.size(); ++i) {
      const Entry& entry = program.entries[i];
      if (entry.tier != tier || !entry.persistent || program.extent[i] == 0) continue;
      auto& [use, extent] = persistent[entry.offset];
      use = static_cast<std::size_t>(entry.use);
      extent = std::max(extent, program.extent[i]);
    }
  }
  for (const auto& [offset, kept] : persistent) {
    result.arena = std::max(result.arena, offset + kept.second);
    result.persistent[kept.first] += kept.second;
  }
  Bytes most = 0;
  for (const Program& program : programs_) {
    std::vector<std::array<std::int64_t, uses>> change(program.steps + 1);
    for (std::size_t use = 0; use < uses; ++use)
      change[0][use] = static_cast<std::int64_t>(result.persistent[use]);
    for (std::size_t i = 0; i < program.entries.size(); ++i) {
      const Entry& entry = program.entries[i];
      const Bytes extent = program.extent[i];
      if (entry.tier != tier || extent == 0 || entry.persistent) continue;
      const auto use = static_cast<std::size_t>(entry.use);
      result.arena = std::max(result.arena, entry.offset + extent);
      change[entry.born][use] += static_cast<std::int64_t>(extent);
      change[entry.dies + 1][use] -= static_cast<std::int64_t>(extent);
    }
    std::array<std::int64_t, uses> live{};
    for (const auto& step : change) {
      for (std::size_t use = 0; use < uses; ++use) live[use] += step[use];
      const auto total =
          static_cast<Bytes>(std::accumulate(live.begin(), live.end(), std::int64_t{0}));
      if (total <= most) continue;
      most = total;
      for (std::size_t use = 0; use < uses; ++use) result.peak[use] = static_cast<Bytes>(live[use]);
    }
  }
  return result;
}

}  // namespace sherd::memory
