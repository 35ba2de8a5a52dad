#include "sherd/plan/place.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "sherd/base/errors.hpp"
#include "sherd/io/record_file.hpp"

namespace sherd::plan {
namespace {

constexpr std::uint32_t never = ~std::uint32_t{0};

// Issues of a phase on its pacing lane, in order.
std::vector<std::uint32_t> pacing_steps(const Program& program, const Phase& phase) {
  std::vector<std::uint32_t> steps;
  for (std::uint32_t i = phase.first; i < phase.last; ++i) {
    if (program.steps[i].lane == phase.pace) steps.push_back(i);
  }
  return steps;
}

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
    const std::vector<std::uint32_t> paces = pacing_steps(program, phase);
    for (const std::uint32_t b : touched) {
      if (window <= 0 || last_lane[b] == phase.pace) continue;
      if (program.buffers[b].tier != Tier::device) continue;
      const auto next = std::upper_bound(paces.begin(), paces.end(), life[b].dies);
      const bool enough = paces.end() - next >= window;
      life[b].dies = enough ? *(next + window - 1) : phase.last - 1;
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

// Lowest offset at or above `base` where `size` bytes are free beside the blocks that live at the
// same time.
Bytes lowest_fit(std::vector<Block>& taken, Bytes base, const Buffer& buffer) {
  std::sort(taken.begin(), taken.end(),
            [](const Block& a, const Block& b) { return a.offset < b.offset; });
  const Bytes multiple = alignment_of(buffer);
  Bytes at = round_up(base, multiple);
  for (const Block& block : taken) {
    if (block.offset >= at + buffer.size) break;
    at = std::max(at, round_up(block.offset + block.size, multiple));
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
      const auto at = named.try_emplace(buffer.name, &buffer).first;
      const Buffer& known = *at->second;
      expects(known.tier == buffer.tier && known.size == buffer.size && known.use == buffer.use,
              "place: persistent buffer " + buffer.name + " differs between programs");
    }
  }
  std::array<Bytes, memory::tiers> top{};
  std::map<std::string, Bytes> offsets;
  for (const auto& [name, buffer] : named) {
    Bytes& end = top[static_cast<std::size_t>(buffer->tier)];
    offsets[name] = round_up(end, alignment_of(*buffer));
    end = offsets[name] + buffer->size;
  }
  for (std::size_t p = 0; p < programs.size(); ++p) {
    for (std::size_t b = 0; b < programs[p].buffers.size(); ++b) {
      const Buffer& buffer = programs[p].buffers[b];
      if (buffer.persistent && buffer.size > 0) plan.at[p][b].offset = offsets[buffer.name];
    }
  }
  return top;
}

// Placed buffers of one tier by when they live. The issue axis is cut into chunks: whoever lives
// together with a buffer is alive in its first chunk or is born in one of the others.
class Placed {
 public:
  explicit Placed(std::size_t steps) : alive_(steps / chunk + 1), born_(steps / chunk + 1) {}

  void add(std::uint32_t id, const Placement& life) {
    for (std::uint32_t c = life.born / chunk; c <= life.dies / chunk; ++c) alive_[c].push_back(id);
    born_[life.born / chunk].push_back(id);
  }
  template <class Visit>
  void visit_near(const Placement& life, Visit&& visit) const {
    const std::uint32_t first = life.born / chunk;
    for (const std::uint32_t id : alive_[first]) visit(id);
    for (std::uint32_t c = first + 1; c <= life.dies / chunk; ++c) {
      for (const std::uint32_t id : born_[c]) visit(id);
    }
  }

 private:
  static constexpr std::uint32_t chunk = 32;
  std::vector<std::vector<std::uint32_t>> alive_, born_;
};

void place_transients(const Program& program, std::vector<Placement>& at,
                      std::array<Bytes, memory::tiers>& arena) {
  const std::array<Bytes, memory::tiers> base = arena;
  std::vector<std::uint32_t> queue;
  for (std::uint32_t b = 0; b < program.buffers.size(); ++b) {
    if (!program.buffers[b].persistent && at[b].born != never) queue.push_back(b);
  }
  std::stable_sort(queue.begin(), queue.end(), [&](std::uint32_t a, std::uint32_t b) {
    return program.buffers[a].size > program.buffers[b].size;
  });
  std::vector<Placed> placed(memory::tiers, Placed(program.steps.size()));
  std::vector<Block> taken;
  for (const std::uint32_t b : queue) {
    const Buffer& buffer = program.buffers[b];
    const auto tier = static_cast<std::size_t>(buffer.tier);
    taken.clear();
    placed[tier].visit_near(at[b], [&](std::uint32_t other) {
      if (at[other].born <= at[b].dies && at[b].born <= at[other].dies)
        taken.push_back({at[other].offset, program.buffers[other].size});
    });
    at[b].offset = lowest_fit(taken, base[tier], buffer);
    arena[tier] = std::max(arena[tier], at[b].offset + buffer.size);
    placed[tier].add(b, at[b]);
  }
}

// Bytes of what other programs keep and this one does not know, by tier and use: they live too.
std::array<ByUse, memory::tiers> kept_elsewhere(std::span<const Program> programs,
                                                const Program& here) {
  std::set<std::string> known;
  for (const Buffer& buffer : here.buffers) known.insert(buffer.name);
  std::array<ByUse, memory::tiers> bytes{};
  for (const Program& program : programs) {
    for (const Buffer& buffer : program.buffers) {
      if (buffer.persistent && known.insert(buffer.name).second)
        bytes[static_cast<std::size_t>(buffer.tier)][static_cast<std::size_t>(buffer.use)] +=
            buffer.size;
    }
  }
  return bytes;
}

void record_peak(std::span<const Program> programs, const Program& program,
                 const std::vector<Placement>& at, MemoryPlan& plan) {
  const std::array<ByUse, memory::tiers> elsewhere = kept_elsewhere(programs, program);
  for (std::size_t tier = 0; tier < memory::tiers; ++tier) {
    std::vector<std::array<std::int64_t, memory::uses>> change(program.steps.size() + 1);
    for (std::size_t use = 0; use < memory::uses; ++use)
      change[0][use] = static_cast<std::int64_t>(elsewhere[tier][use]);
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

Bytes alignment_of(const Buffer& buffer) {
  const bool direct = buffer.tier == Tier::file || buffer.use == Use::staging;
  return direct ? io::direct_block : alignment;
}

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
  for (std::size_t p = 0; p < programs.size(); ++p)
    record_peak(programs, programs[p], plan.at[p], plan);
  return plan;
}

}  // namespace sherd::plan
