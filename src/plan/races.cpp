// The judge of `order`: every pair of issues, compared byte range by byte range.
#include <set>

#include "plan/draft.hpp"
#include "plan/unroll.hpp"
#include "sherd/plan/place.hpp"

namespace sherd::plan {
namespace {

struct Touch {
  Tier tier;
  Bytes first, end;
  bool writes;
};

struct Issue {
  std::uint32_t step;
  Clock before;  // what has finished when this one starts
  std::uint64_t ticket;
};

bool conflict(const std::vector<Touch>& a, const std::vector<Touch>& b) {
  for (const Touch& x : a) {
    for (const Touch& y : b) {
      if ((x.writes || y.writes) && x.tier == y.tier && x.first < y.end && y.first < x.end)
        return true;
    }
  }
  return false;
}

std::vector<std::vector<Touch>> touches(const Program& program, std::span<const Placement> at) {
  std::vector<std::vector<Touch>> all;
  for (const Step& step : program.steps) {
    all.emplace_back();
    for (const Access& access : step.accesses) {
      const Bytes first = at[index_of(access.buffer)].offset + access.first;
      all.back().push_back(
          {program.at(access.buffer).tier, first, first + access.size, writes(access)});
    }
  }
  return all;
}

}  // namespace

std::vector<std::string> races(const Program& program, std::span<const Placement> at,
                               std::span<const Wait> waits) {
  std::vector<std::vector<std::uint32_t>> waits_of(program.steps.size());
  for (const Wait& wait : waits) waits_of[wait.step].push_back(wait.on);
  Clocks clocks(program.steps.size());
  std::vector<Issue> issues;
  for (const std::uint32_t step : unrolled(program, 3, 3)) {
    const Lane lane = program.steps[step].lane;
    Clock clock = clocks.start(lane);
    for (const std::uint32_t on : waits_of[step]) clocks.join_latest(clock, on);
    const Clock before = clock;
    clocks.finish(step, lane, clock);
    issues.push_back({step, before, clock[static_cast<std::size_t>(lane)]});
  }
  const auto touched = touches(program, at);
  std::set<std::string> found;
  for (std::size_t later = 0; later < issues.size(); ++later) {
    for (std::size_t earlier = 0; earlier < later; ++earlier) {
      const Issue& a = issues[earlier];
      const Issue& b = issues[later];
      const Lane lane = program.steps[a.step].lane;
      if (lane == program.steps[b.step].lane ||
          b.before[static_cast<std::size_t>(lane)] >= a.ticket)
        continue;
      if (!conflict(touched[a.step], touched[b.step])) continue;
      const auto name = [&](std::uint32_t s) {
        return std::to_string(s) + " " + std::string(name_of(program.steps[s].verb)) + " " +
               std::to_string(program.steps[s].subject);
      };
      found.insert("step " + name(b.step) + " does not wait for step " + name(a.step));
    }
  }
  return {found.begin(), found.end()};
}

}  // namespace sherd::plan
