#pragma once
// The states of a program whose home is not the device, and where their tiles lie.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "plan/copies.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/plan/tiles.hpp"

namespace sherd::plan {

inline constexpr std::size_t tiles_ahead = 2;  // one computes, one arrives, one leaves

/// A state that was cut: what stays is in the old buffer, the rest in `low`.
struct Moved {
  StateBuffer state;
  Bytes whole = 0;  // bytes before the cut
  Use use = Use::params;
  BufferId kept{}, low{};
  std::vector<Run> runs;

  [[nodiscard]] Spot spot(const Run& run) const {
    return {run.low ? low : kept, run.first, run.size};
  }
  [[nodiscard]] bool on_file(const Run& run) const { return run.low && state.home == Tier::file; }
};

class MovedStates {
 public:
  MovedStates(Program& program, Buffers& buffers, const Setup& setup) : program_(program) {
    const std::size_t count = program.buffers.size();
    for (std::size_t id = 0; id < count; ++id) consider(static_cast<BufferId>(id), buffers, setup);
  }

  [[nodiscard]] const std::map<BufferId, Moved>& all() const { return moved_; }
  [[nodiscard]] const Moved& at(BufferId id) const { return moved_.at(id); }
  /// The tile of elements `range` in the state of that buffer; null where it was not moved.
  [[nodiscard]] const Run* run_of(BufferId id, const shard::Range& range) const {
    const auto found = moved_.find(id);
    if (found == moved_.end()) return nullptr;
    const std::vector<Run>& runs = found->second.runs;
    const auto run =
        std::lower_bound(runs.begin(), runs.end(), range.first,
                         [](const Run& a, std::uint64_t first) { return a.range.first < first; });
    expects(run != runs.end() && run->range == range, "tiers: an update is not one tile");
    return &*run;
  }
  /// Tiles that do not start at one of `firsts` have no home.
  void keep_only(BufferId id, const std::set<std::uint64_t>& firsts) {
    Moved& moved = moved_.at(id);
    std::erase_if(moved.runs, [&](const Run& run) { return !firsts.contains(run.range.first); });
    lay_out(moved.state, moved.runs);
    program_.at(moved.low).size = bytes_of_runs(moved.state, moved.runs).low;
  }
  /// What stays shrinks to its size, which was needed whole until all is rewritten.
  void cut_buffers() const {
    for (const auto& [id, moved] : moved_)
      program_.at(id).size = bytes_of_runs(moved.state, moved.runs).kept;
  }
  [[nodiscard]] std::string staging_name(const Spot& of) const {
    const std::string& name = program_.at(of.buffer).name;
    return "staging." + name.substr(0, name.find(']') + 1);
  }

 private:
  void consider(BufferId id, Buffers& buffers, const Setup& setup) {
    const Buffer buffer = program_.at(id);
    const Tier home = home_of(setup, buffer);
    if (home == Tier::device || buffer.size == 0) return;
    const std::size_t bucket = std::stoul(buffer.name.substr(buffer.name.find('[') + 1));
    const shard::Range whole{0, setup.layout.buckets()[bucket].numel};
    const bool all = buffer.size == bytes_of(buffer.type, whole.count);
    Moved moved;
    moved.state = {buffer.name, bucket, buffer.type, home,
                   all ? whole : setup.layout.shard(bucket, setup.rank)};
    moved.whole = buffer.size;
    moved.use = buffer.use;
    moved.kept = id;
    moved.runs = runs_of(setup, moved.state);
    const Bytes low = bytes_of_runs(moved.state, moved.runs).low;
    moved.low = buffers.add({moved.state.low_name(), home, buffer.use, buffer.type, low, true});
    moved_.emplace(id, std::move(moved));
  }

  Program& program_;
  std::map<BufferId, Moved> moved_;
};

}  // namespace sherd::plan
