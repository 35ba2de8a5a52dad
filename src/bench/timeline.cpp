#include "sherd/bench/timeline.hpp"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "bench/memory_runs.hpp"

namespace sherd::bench {
namespace {

using memory::Tier;

// Bytes live at each step.
std::vector<Bytes> live_by_step(const std::vector<TimelineBuffer>& buffers, std::size_t steps) {
  std::vector<Bytes> live(steps + 1, 0);  // differences first, modulo 2^64
  for (const TimelineBuffer& buffer : buffers) {
    live[buffer.born] += buffer.size;
    live[buffer.dies + 1] -= buffer.size;
  }
  std::partial_sum(live.begin(), live.end(), live.begin());
  live.pop_back();
  return live;
}

void find_peak(TierTimeline& tier, std::size_t steps) {
  const std::vector<Bytes> live = live_by_step(tier.buffers, steps);
  tier.peak_step =
      static_cast<std::uint32_t>(std::max_element(live.begin(), live.end()) - live.begin());
  for (const TimelineBuffer& buffer : tier.buffers) {
    if (buffer.born > tier.peak_step || buffer.dies < tier.peak_step) continue;
    tier.at_peak.push_back(buffer);
    tier.at_peak_by_use[static_cast<std::size_t>(buffer.use)] += buffer.size;
  }
  std::stable_sort(
      tier.at_peak.begin(), tier.at_peak.end(),
      [](const TimelineBuffer& a, const TimelineBuffer& b) { return a.size > b.size; });
}

TierTimeline tier_of(const plan::Plan& plan, Tier tier) {
  TierTimeline found{.tier = tier,
                     .arena = plan.memory.arena[static_cast<std::size_t>(tier)],
                     .at_peak = {},
                     .buffers = {}};
  const plan::Program& program = plan.train.program;
  std::vector<bool> used(program.buffers.size(), false);
  for (const plan::Step& step : program.steps) {
    for (const plan::Access& access : step.accesses) used[plan::index_of(access.buffer)] = true;
  }
  for (std::size_t b = 0; b < program.buffers.size(); ++b) {
    const plan::Buffer& buffer = program.buffers[b];
    if (buffer.tier != tier || buffer.size == 0 || !(used[b] || buffer.persistent)) continue;
    const plan::Placement& at = plan.train.at[b];
    found.buffers.push_back({buffer.name, buffer.use, at.offset, buffer.size, at.born, at.dies, 1});
  }
  find_peak(found, program.steps.size());
  return found;
}

// Buffers of one use and size that follow each other at one place within `gap` steps.
std::vector<TimelineBuffer> joined(std::vector<TimelineBuffer> buffers, std::uint32_t gap) {
  const auto place = [](const TimelineBuffer& b) { return std::tie(b.offset, b.size, b.use); };
  std::sort(buffers.begin(), buffers.end(), [&](const auto& a, const auto& b) {
    return std::tuple(place(a), a.born) < std::tuple(place(b), b.born);
  });
  std::vector<TimelineBuffer> out;
  for (TimelineBuffer& next : buffers) {
    if (!out.empty() && place(out.back()) == place(next) && next.born <= out.back().dies + gap) {
      out.back().dies = std::max(out.back().dies, next.dies);
      out.back().count += next.count;
    } else {
      out.push_back(std::move(next));
    }
  }
  return out;
}

}  // namespace

Bytes TierTimeline::live() const {
  return std::accumulate(at_peak_by_use.begin(), at_peak_by_use.end(), Bytes{0});
}

Timeline timeline_of(const plan::Plan& plan, std::string title) {
  const plan::Program& program = plan.train.program;
  Timeline timeline{std::move(title), {}, {}, program.phases, {}};
  for (const model::BlockSpec& block : plan.setup.model.blocks)
    timeline.blocks.push_back(block.name);
  for (const plan::Step& step : program.steps)
    timeline.steps.push_back({step.verb, step.lane, step.subject});
  for (int tier = 0; tier < memory::tiers; ++tier) {
    TierTimeline one = tier_of(plan, static_cast<Tier>(tier));
    if (!one.buffers.empty()) timeline.tiers.push_back(std::move(one));
  }
  return timeline;
}

std::string title_of(const launch::RunConfig& config) {
  launch::RunConfig other = config;
  other.model.model = launch::RunConfig{}.model.model;
  std::string words;
  for (const std::string& word : flags_of(std::move(other))) words += ' ' + word;
  return config.model.model + (words.empty() ? "" : "," + words);
}

Timeline thinned(Timeline timeline, std::size_t most) {
  const std::size_t each = most / std::max<std::size_t>(1, timeline.tiers.size());
  const auto steps = static_cast<std::uint32_t>(timeline.steps.size());
  for (TierTimeline& tier : timeline.tiers) {
    for (std::uint32_t gap = std::max(1U, steps / 2048); tier.buffers.size() > each; gap *= 4) {
      tier.buffers = joined(std::move(tier.buffers), gap);
      if (gap >= steps) break;
    }
    if (tier.buffers.size() <= each) continue;
    std::stable_sort(tier.buffers.begin(), tier.buffers.end(),
                     [](const auto& a, const auto& b) { return a.size > b.size; });
    for (std::size_t i = each; i < tier.buffers.size(); ++i) tier.left_out += tier.buffers[i].count;
    tier.buffers.resize(each);
  }
  return timeline;
}

}  // namespace sherd::bench
