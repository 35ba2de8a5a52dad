// A checkpoint's copy of what a rank owns: states one behind the other, without padding, through a
// ring of host memory. Byte i of the file passes at byte i of the ring, round and round.
#include <algorithm>
#include <map>
#include <utility>

#include "plan/copies.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/plan/passes.hpp"
#include "sherd/plan/tiles.hpp"
#include "sherd/shard/packed.hpp"

namespace sherd::plan {
namespace {

using shard::Range;

constexpr std::uint64_t at_once = 1 << 20;  // elements; a record is copied whole
constexpr std::size_t records_ahead = 1;

std::vector<State> kept_states(const Setup& setup, std::size_t bucket) {
  if (!setup.trains(bucket)) return {State::param};
  const Formats& f = setup.formats;
  std::vector<State> states;
  if (!f.master || f.master_type != DType::f32) states.push_back(State::param);
  if (f.master) states.push_back(State::master);
  if (f.moments > 0) states.push_back(State::moment1);
  if (f.moments > 1) states.push_back(State::moment2);
  return states;
}

Range common(const Range& a, const Range& b) {
  const std::uint64_t first = std::max(a.first, b.first), end = std::min(a.end(), b.end());
  return {first, end > first ? end - first : 0};
}

class Snapshot {
 public:
  Snapshot(const Setup& setup, const Program& train)
      : setup_(setup), train_(train), buffers_(program_), copies_(program_, buffers_) {
    program_.name = "snapshot";
    ring_ = buffers_.add(
        {"snapshot", setup.host_tier(), Use::staging, DType::u8, snapshot_ring(setup), true});
  }

  Program make() && {
    for (std::size_t b = 0; b < setup_.layout.buckets().size(); ++b) {
      for (const State state : kept_states(setup_, b)) add(state, b);
    }
    fill_up();
    std::vector<Step> steps;
    pipeline(std::move(items_), records_ahead, steps);
    program_.steps = std::move(steps);
    program_.phases.push_back({"snapshot", 0, static_cast<std::uint32_t>(program_.steps.size()), 1,
                               Lane::down, Turn::after});
    return std::move(program_);
  }

 private:
  [[nodiscard]] Bytes ring_size() const { return program_.at(ring_).size; }

  void add(State which, std::size_t bucket) {
    const std::optional<StateBuffer> state = state_buffer(setup_, which, bucket);
    const Range owned = setup_.layout.shard(bucket, setup_.rank);
    for (const Run& run : runs_of(setup_, *state)) {
      const Range mine = common(run.range, owned);
      const bool record = run.low && state->home == Tier::file;
      const std::uint64_t most = record ? mine.count : at_once;
      for (std::uint64_t done = 0; done < mine.count; done += most) {
        const Range part{mine.first + done, std::min(most, mine.count - done)};
        if (!setup_.layout.segments(bucket, part).empty()) copy(which, *state, run, part);
      }
    }
  }

  void copy(State which, const StateBuffer& state, const Run& run, const Range& part) {
    const bool record = run.low && state.home == Tier::file;
    Spot from{borrowed(run.low ? state.low_name() : state.name), run.first, run.size};
    const Subject subject{static_cast<std::uint16_t>(state.bucket),
                          static_cast<std::uint32_t>(items_.size()), part};
    Item item;
    if (record) {
      const Spot staged = copies_.staging(from, setup_.host_tier(), "staging." + state.name);
      item.arrive.push_back(
          copies_.copy(Verb::fetch, from, staged, {subject.bucket, subject.tile, run.range}));
      from = staged;
    }
    Step step{Verb::evict, Lane::down, Group::none, subject.bucket, subject.tile, {}, 0, part};
    step.accesses.push_back(
        {from.buffer, Mode::read, from.first + bytes_of(state.type, part.first - run.range.first),
         bytes_of(state.type, part.count), Role::from, static_cast<std::uint16_t>(which)});
    Bytes bytes = 0;
    for (const shard::Segment& segment : setup_.layout.segments(state.bucket, part))
      bytes += shard::packed_bytes(state.type, segment.count);
    expects(bytes <= ring_size(), "snapshot: a tile does not fit into the ring");
    put(step, bytes, Role::to);
    step.work = static_cast<double>(bytes);
    item.work.push_back(std::move(step));
    items_.push_back(std::move(item));
  }

  // Where the file goes on, in one piece or round the ring's end.
  void put(Step& step, Bytes bytes, Role role) {
    const Bytes first = end_ % ring_size(), head = std::min(bytes, ring_size() - first);
    step.accesses.push_back({ring_, Mode::write, first, head, role});
    if (bytes > head) step.accesses.push_back({ring_, Mode::write, 0, bytes - head, role, 1});
    end_ += bytes;
  }

  // The ring is as large on all ranks, whatever padding they own: the rest becomes zero.
  void fill_up() {
    if (end_ >= ring_size()) return;
    Step step{Verb::evict, Lane::down, Group::none, 0, 0, {}, 0, {}};
    put(step, ring_size() - end_, Role::frame);
    items_.push_back({{}, {std::move(step)}, {}});
  }

  // A persistent buffer of the training program: the same name, the same place.
  BufferId borrowed(const std::string& name) {
    const auto known = borrowed_.find(name);
    if (known != borrowed_.end()) return known->second;
    return borrowed_[name] = buffers_.add(train_.at(find_buffer(train_, name)));
  }

  const Setup& setup_;
  const Program& train_;
  Program program_;
  Buffers buffers_;
  Copies copies_;
  BufferId ring_{};
  std::map<std::string, BufferId> borrowed_;
  Bytes end_ = 0;  // of what is in the file so far
  std::vector<Item> items_;
};

}  // namespace

Bytes snapshot_ring(const Setup& setup) {
  Bytes all = 0, largest = 0;
  for (std::size_t b = 0; b < setup.layout.buckets().size(); ++b) {
    for (const State state : kept_states(setup, b)) {
      const DType type = state_buffer(setup, state, b)->type;
      const std::uint64_t count = setup.layout.shard(b, 0).count;
      all += shard::packed_bytes(type, count);
      largest = std::max(
          largest, shard::packed_bytes(type, std::min(count, std::max(at_once, setup.homes.tile))));
    }
  }
  const Bytes whole = round_up(all, io::direct_block);
  const Bytes least = round_up(2 * largest, mib) + 2 * mib;
  return std::min(whole, round_up(std::max(setup.snapshot_bytes, least), mib));
}

Program snapshot_program(const Setup& setup, const Program& train) {
  Program program = Snapshot(setup, train).make();
  const std::vector<std::string> problems = check(program);
  expects(problems.empty(), "plan: snapshot: " + (problems.empty() ? "" : problems.front()));
  return program;
}

}  // namespace sherd::plan
