#include "sherd/plan/place.hpp"

#include <algorithm>
#include <map>
#include <numeric>

#include "sherd/base/errors.hpp"
#include "sherd/io/record_file.hpp"

namespace sherd::plan {
namespace {

constexpr std::uint32_t never = ~std::uint32_t{0};

// First and last access of each buffer; one last used beside the pacing lane lives `window` pacing
// steps longer.
std::vector<Placement> lives(const Program& program, int window) {
  std::vector<Placement> life(program.buffers.size(), Placement{0, never, 0});
  std::vector<Lane> last_lane(program.buffers.size(), Lane::compute);
  for (const Phase& phase : program.phases) {
    std::vector<std::uint32_t> touched;
    for (std::uint32_t i = phase.first; i < phase.last; ++i) {
      for (const Access& access : program.steps[i].accesses) {
        const std::size_t b = index_of(access.buffer);
        if (life[b].born == never) touched.push_back(static_cast<std::uint32_t>(b));
        life[b].born = std::min(life[b].born, i);
        life[b].dies = i;
        last_lane[b] = program.steps[i].lane;
      }
    }
    // Updates have an order that overlaps by itself, and so has what passes through the host.
    if (phase.turn == Turn::after) continue;
    for (const std::uint32_t b : touched) {
      if (program.buffers[b].tier != Tier::device) continue;
      int left = last_lane[b] == phase.pace ? 0 : window;
      std::uint32_t end = life[b].dies;
      while (left > 0 && end + 1 < phase.last)
        left -= program.steps[++end].lane == phase.pace ? 1 : 0;
      life[b].dies = end;
    }
  }
  for (std::size_t b = 0; b < program.buffers.size(); ++b) {
    if (program.buffers[b].persistent)
      life[b] = {0, 0, static_cast<std::uint32_t>(program.steps.size()) - 1};
  }
  return life;
}

struct Block {
  Bytes offset, size;
};

// Direct transfers take whole blocks of a disk.
Bytes alignment_of(const Buffer& buffer) {
  const bool transfers = buffer.tier == Tier::file || buffer.use == Use::staging;
  return transfers ? io::direct_block : alignment;
}

// Lowest offset at or above `base` where `size` bytes are free beside the blocks that live at the
// same time.
Bytes lowest_fit(std::vector<Block>& taken, Bytes base, Bytes size, Bytes align) {
  std::sort(taken.begin(), taken.end(),
            [](const Block& a, const Block& b) { return a.offset < b.offset; });
  Bytes at = base;
  for (const Block& block : taken) {
    if (block.offset >= at + size) break;
    at = std::max(at, round_up(block.offset + block.size, align));
  }
  return at;
}

// Persistent buffers of all programs by name: one offset each. Returns where the transients may
// start, by tier.
std::array<Bytes, memory::tiers> place_persistent(std::span<const Program> programs,
                                                  MemoryPlan& plan) {
  std::map<std::string, const Buffer*> named;
  for (const Program& program : programs) {
    for (const Buffer& buffer : program.buffers) {
      if (!buffer.persistent || buffer.size == 0) continue;
      const Buffer& first = *named.try_emplace(buffer.name, &buffer).first->second;
      expects(first.tier == buffer.tier && first.size == buffer.size,
              "place: persistent buffer " + buffer.name + " differs between programs");
    }
  }
  std::array<Bytes, memory::tiers> top{};
  std::map<std::string, Bytes> offsets;
  for (const auto& [name, what] : named) {
    Bytes& end = top[static_cast<std::size_t>(what->tier)];
    offsets[name] = round_up(end, alignment_of(*what));
    end = offsets[name] + what->size;
  }
  for (std::size_t p = 0; p < programs.size(); ++p) {
    for (std::size_t b = 0; b < programs[p].buffers.size(); ++b) {
      const Buffer& buffer = programs[p].buffers[b];
      if (buffer.persistent && buffer.size > 0) plan.at[p][b].offset = offsets[buffer.name];
    }
  }
  return top;
}

void place_transients(const Program& program, std::vector<Placement>& at,
                      std::array<Bytes, memory::tiers>& arena) {
  const std::array<Bytes, memory::tiers> base = arena;
  std::vector<std::size_t> queue;
  for (std::size_t b = 0; b < program.buffers.size(); ++b) {
    if (!program.buffers[b].persistent && at[b].born != never) queue.push_back(b);
  }
  std::stable_sort(queue.begin(), queue.end(), [&](std::size_t a, std::size_t b) {
    return program.buffers[a].size > program.buffers[b].size;
  });
  std::vector<std::size_t> placed;
  std::vector<Block> taken;
  for (const std::size_t b : queue) {
    const Buffer& buffer = program.buffers[b];
    const auto tier = static_cast<std::size_t>(buffer.tier);
    taken.clear();
    for (const std::size_t other : placed) {
      const bool together = at[other].born <= at[b].dies && at[b].born <= at[other].dies;
      if (together && program.buffers[other].tier == buffer.tier)
        taken.push_back({at[other].offset, program.buffers[other].size});
    }
    at[b].offset = lowest_fit(taken, round_up(base[tier], alignment_of(buffer)), buffer.size,
                              alignment_of(buffer));
    arena[tier] = std::max(arena[tier], at[b].offset + buffer.size);
    placed.push_back(b);
  }
}

void record_peak(const Program& program, const std::vector<Placement>& at, MemoryPlan& plan) {
  for (std::size_t tier = 0; tier < memory::tiers; ++tier) {
    std::vector<std::array<std::int64_t, memory::uses>> change(program.steps.size() + 1);
    for (std::size_t b = 0; b < program.buffers.size(); ++b) {
      const Buffer& buffer = program.buffers[b];
      if (static_cast<std::size_t>(buffer.tier) != tier || at[b].born == never) continue;
      const auto use = static_cast<std::size_t>(buffer.use);
      change[at[b].born][use] += static_cast<std::int64_t>(buffer.size);
      change[at[b].dies + 1][use] -= static_cast<std::int64_t>(buffer.size);
    }
    std::array<std::int64_t, memory::uses> live{};
    for (const auto& step : change) {
      for (std::size_t use = 0; use < live.size(); ++use) live[use] += step[use];
      const auto total =
          static_cast<Bytes>(std::accumulate(live.begin(), live.end(), std::int64_t{0}));
      if (total <= plan.live(static_cast<Tier>(tier))) continue;
      for (std::size_t use = 0; use < live.size(); ++use)
        plan.peak[tier][use] = static_cast<Bytes>(live[use]);
    }
  }
}

}  // namespace

Bytes MemoryPlan::live(Tier tier) const {
  const ByUse& by = peak[static_cast<std::size_t>(tier)];
  return std::accumulate(by.begin(), by.end(), Bytes{0});
}

MemoryPlan place(std::span<const Program> programs, int window) {
  MemoryPlan plan;
  for (const Program& program : programs) plan.at.push_back(lives(program, window));
  const std::array<Bytes, memory::tiers> persistent = place_persistent(programs, plan);
  for (std::size_t p = 0; p < programs.size(); ++p) {
    std::array<Bytes, memory::tiers> arena = persistent;
    place_transients(programs[p], plan.at[p], arena);
    for (std::size_t tier = 0; tier < arena.size(); ++tier)
      plan.arena[tier] = std::max(plan.arena[tier], arena[tier]);
  }
  for (std::size_t p = 0; p < programs.size(); ++p) record_peak(programs[p], plan.at[p], plan);
  return plan;
}

}  // namespace sherd::plan
