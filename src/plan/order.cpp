#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "plan/unroll.hpp"
#include "sherd/plan/place.hpp"

namespace sherd::plan {
namespace {

constexpr std::int64_t nobody = -1;

// Who touched a run of bytes last: the last writer, and the readers since, by lane.
struct Segment {
  Bytes end;
  std::int64_t writer = nobody;
  std::array<std::int64_t, device::lanes> readers;
};

class Bytemap {
 public:
  // Calls `touch(segment)` for every run inside [first, end), splitting runs at the edges.
  template <class Touch>
  void visit(Bytes first, Bytes end, Touch&& touch) {
    split(first);
    split(end);
    for (Bytes at = first; at < end;) {
      auto run = runs_.find(at);
      if (run == runs_.end()) {
        const auto next = runs_.upper_bound(at);
        const Bytes stop = next == runs_.end() ? end : std::min(end, next->first);
        Segment fresh{stop, nobody, {}};
        fresh.readers.fill(nobody);
        run = runs_.emplace(at, fresh).first;
      }
      touch(run->second);
      at = run->second.end;
    }
  }

 private:
  void split(Bytes at) {
    auto run = runs_.upper_bound(at);
    if (run == runs_.begin()) return;
    --run;
    if (run->first == at || run->second.end <= at) return;
    Segment tail = run->second;
    run->second.end = at;
    runs_.emplace(at, tail);
  }
  std::map<Bytes, Segment> runs_;
};

class Orderer {
 public:
  Orderer(const Program& program, std::span<const Placement> at)
      : program_(program), at_(at), clocks_(program.steps.size()), waits_(program.steps.size()) {}

  std::vector<Wait> run() {
    for (const std::uint32_t step : unrolled(program_, 2, 2)) {
      const auto issue = static_cast<std::int64_t>(issues_.size());
      issues_.push_back({step, clocks_.start(program_.steps[step].lane)});
      Clock& clock = issues_.back().clock;
      for (const std::uint32_t on : waits_[step]) clocks_.join_latest(clock, on);
      need_.fill(nobody);
      for (const Access& access : program_.steps[step].accesses) touch(access, issue);
      for (const std::int64_t dependency : need_) {
        if (dependency != nobody)
          wait_unless_implied(step, clock, issues_[static_cast<std::size_t>(dependency)].step,
                              dependency);
      }
      clocks_.finish(step, program_.steps[step].lane, clock);
      issues_.back().ticket = clock[static_cast<std::size_t>(program_.steps[step].lane)];
    }
    std::vector<Wait> all;
    for (std::uint32_t step = 0; step < waits_.size(); ++step) {
      for (const std::uint32_t on : waits_[step]) all.push_back({step, on});
    }
    return all;
  }

 private:
  struct Issue {
    std::uint32_t step;
    Clock clock;
    std::uint64_t ticket = 0;
  };

  void touch(const Access& access, std::int64_t issue) {
    const Buffer& buffer = program_.at(access.buffer);
    const Bytes first = at_[index_of(access.buffer)].offset + access.first;
    const Lane lane = program_.steps[issues_.back().step].lane;
    maps_[static_cast<std::size_t>(buffer.tier)].visit(
        first, first + access.size, [&](Segment& run) {
          depend(run.writer, lane);
          if (access.mode == Mode::read) {
            run.readers[static_cast<std::size_t>(lane)] = issue;
            return;
          }
          for (const std::int64_t reader : run.readers) depend(reader, lane);
          run.writer = issue;
          run.readers.fill(nobody);
        });
  }
  // Lanes are queues: the latest issue on a lane stands for all before it.
  void depend(std::int64_t on, Lane lane) {
    if (on == nobody || on + 1 == static_cast<std::int64_t>(issues_.size())) return;
    const Lane other = program_.steps[issues_[static_cast<std::size_t>(on)].step].lane;
    if (other != lane)
      need_[static_cast<std::size_t>(other)] = std::max(need_[static_cast<std::size_t>(other)], on);
  }
  void wait_unless_implied(std::uint32_t step, Clock& clock, std::uint32_t on,
                           std::int64_t dependency) {
    const auto lane = static_cast<std::size_t>(program_.steps[on].lane);
    if (clock[lane] >= issues_[static_cast<std::size_t>(dependency)].ticket) return;
    waits_[step].insert(on);
    clocks_.join_latest(clock, on);
  }

  const Program& program_;
  std::span<const Placement> at_;
  Clocks clocks_;
  std::vector<std::set<std::uint32_t>> waits_;
  std::vector<Issue> issues_;
  std::array<Bytemap, memory::tiers> maps_;
  std::array<std::int64_t, device::lanes> need_{};
};

}  // namespace

std::vector<Wait> order(const Program& program, std::span<const Placement> at) {
  return Orderer(program, at).run();
}

}  // namespace sherd::plan
