// States that live on host or file. In micro-steps a whole copy is on the device from first to last
// use; updates run tile by tile where they are told to.
#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "plan/copies.hpp"
#include "plan/intervals.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/plan/passes.hpp"
#include "sherd/plan/tiles.hpp"

namespace sherd::plan {
namespace {

using shard::Range;

constexpr std::size_t tiles_ahead = 2;  // one computes, one arrives, one leaves

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
};

/// A copy on the device during an interval.
struct Visit {
  BufferId state{}, copy{};
  Interval span{};
  bool fetched = false;
  std::optional<std::uint32_t> written;  // the last step that writes it
};

class Tiers {
 public:
  Tiers(Program& program, const Setup& setup)
      : program_(program), setup_(setup), buffers_(program), copies_(program, buffers_) {}

  void run() {
    const std::size_t count = program_.buffers.size();
    for (std::size_t id = 0; id < count; ++id) consider(static_cast<BufferId>(id));
    if (moved_.empty()) return;
    for (const Phase& phase : program_.phases) plan_visits(phase);
    forget_unread();
    std::uint32_t last_update = 0;
    for (std::uint32_t i = 0; i < program_.steps.size(); ++i) {
      if (program_.steps[i].verb == Verb::update) last_update = i;
    }
    rewrite(program_,
            [&](std::size_t, std::uint32_t index, const Step& old, std::vector<Step>& out) {
              if (old.verb == Verb::update)
                updates_.push_back(old);
              else
                micro_step(index, old, out);
              if (old.verb == Verb::update && index == last_update) emit_updates(out);
            });
    cut_buffers();
  }

 private:
  void consider(BufferId id) {
    const Buffer& buffer = program_.at(id);
    const Tier home = home_of(setup_, buffer);
    if (home == Tier::device || buffer.size == 0) return;
    const std::size_t bucket = bucket_in(buffer.name);
    const Range whole{0, setup_.layout.buckets()[bucket].numel};
    const bool all = buffer.size == bytes_of(buffer.type, whole.count);
    Moved moved{{buffer.name, bucket, buffer.type, home,
                 all ? whole : setup_.layout.shard(bucket, setup_.rank)},
                buffer.size,
                buffer.use,
                id,
                {},
                {}};
    moved.runs = runs_of(setup_, moved.state);
    const Bytes low = bytes_of_runs(moved.state, moved.runs).low;
    moved.low = buffers_.add({moved.state.low_name(), home, buffer.use, buffer.type, low, true});
    moved_.emplace(id, std::move(moved));
  }
  static std::size_t bucket_in(const std::string& name) {
    return std::stoul(name.substr(name.find('[') + 1));
  }
  // Gradients that are summed elsewhere in every micro-step, or updated by peers, are not read
  // again: they have no home.
  void forget_unread() {
    for (auto& [id, moved] : moved_) {
      const bool fetched = std::any_of(
          visits_.begin(), visits_.end(),
          [&, which = id](const Visit& visit) { return visit.state == which && visit.fetched; });
      if (fetched) continue;
      std::set<std::uint64_t> updated;  // firsts of ranges
      for (const Step& step : program_.steps) {
        if (step.verb == Verb::update && uses(step, id)) updated.insert(step.range.first);
      }
      std::erase_if(moved.runs, [&](const Run& run) { return !updated.contains(run.range.first); });
      lay_out(moved.state, moved.runs);
      program_.at(moved.low).size = bytes_of_runs(moved.state, moved.runs).low;
    }
  }
  // Sizes were needed whole until now.
  void cut_buffers() {
    for (const auto& [id, moved] : moved_)
      program_.at(id).size = bytes_of_runs(moved.state, moved.runs).kept;
  }
  [[nodiscard]] static bool uses(const Step& step, BufferId id) {
    return std::any_of(step.accesses.begin(), step.accesses.end(),
                       [&](const Access& access) { return access.buffer == id; });
  }
  [[nodiscard]] static bool touches(const Step& step, BufferId id) {
    return step.verb != Verb::update && uses(step, id);
  }

  // A gradient stays from its first writer to its norm; parameters come and go with their uses.
  void plan_visits(const Phase& phase) {
    for (const auto& [id, moved] : moved_) {
      std::vector<Interval> spans = intervals(
          program_, phase, [&, which = id](const Step& step) { return touches(step, which); });
      if (moved.use == Use::grads && spans.size() > 1)
        spans = {{spans.front().first, spans.back().last}};
      for (const Interval& span : spans) visits_.push_back(make_visit(moved, id, span));
    }
  }
  Visit make_visit(const Moved& moved, BufferId id, const Interval& span) {
    Visit visit{id, {}, span, false, {}};
    visit.copy = buffers_.add(
        {moved.state.name, Tier::device, moved.use, moved.state.type, moved.whole, false});
    std::map<Bytes, Bytes> written;  // first to end, of disjoint ranges
    for (std::uint32_t i = span.first; i <= span.last; ++i) {
      for (const Access& access : program_.steps[i].accesses) {
        if (access.buffer != id) continue;
        if (reads(access) && !covered(written, access)) visit.fetched = true;
        if (writes(access)) visit.written = i;
      }
      for (const Access& access : program_.steps[i].accesses) {
        if (access.buffer == id && writes(access)) cover(written, access);
      }
    }
    return visit;
  }
  static bool covered(const std::map<Bytes, Bytes>& written, const Access& access) {
    Bytes at = access.first;
    for (const auto& [first, end] : written) {
      if (first <= at) at = std::max(at, end);
    }
    return at >= access.first + access.size;
  }
  static void cover(std::map<Bytes, Bytes>& written, const Access& access) {
    Bytes& end = written[access.first];
    end = std::max(end, access.first + access.size);
  }

  void micro_step(std::uint32_t index, const Step& old, std::vector<Step>& out) {
    Step step = old;
    for (const Visit& visit : visits_) {
      if (visit.span.first > index || visit.span.last < index) continue;
      if (visit.span.first == index && visit.fetched) bring(visit, out);
      for (Access& access : step.accesses) {
        if (access.buffer == visit.state) access.buffer = visit.copy;
      }
    }
    out.push_back(std::move(step));
    for (const Visit& visit : visits_) {
      if (visit.written == index) take(visit, out);
    }
  }
  [[nodiscard]] Spot in_copy(const Visit& visit, const Run& run) const {
    const Moved& moved = moved_.at(visit.state);
    return {visit.copy, bytes_of(moved.state.type, run.range.first - moved.state.extent.first),
            run.size};
  }
  [[nodiscard]] static bool on_file(const Moved& moved, const Run& run) {
    return run.low && moved.state.home == Tier::file;
  }
  // From home to the copy; what is on file by way of the host.
  void bring(const Visit& visit, std::vector<Step>& out) {
    const Moved& moved = moved_.at(visit.state);
    std::vector<Item> items;
    for (std::uint32_t tile = 0; tile < moved.runs.size(); ++tile) {
      const Run& run = moved.runs[tile];
      const Subject subject = subject_of(moved, tile);
      Item item;
      Spot from = moved.spot(run);
      if (on_file(moved, run)) {
        const Spot staged = copies_.staging(from, setup_.host_tier(), staging_name(from));
        item.arrive.push_back(copies_.fetch(from, staged, subject));
        from = staged;
      }
      item.work.push_back(copies_.fetch(from, in_copy(visit, run), subject));
      items.push_back(std::move(item));
    }
    pipeline(std::move(items), tiles_ahead, out);
  }
  void take(const Visit& visit, std::vector<Step>& out) {
    const Moved& moved = moved_.at(visit.state);
    std::vector<Item> items;
    for (std::uint32_t tile = 0; tile < moved.runs.size(); ++tile) {
      const Run& run = moved.runs[tile];
      const Subject subject = subject_of(moved, tile);
      Item item;
      Spot from = in_copy(visit, run);
      const Spot home = moved.spot(run);
      if (on_file(moved, run)) {
        const Spot staged = copies_.staging(home, setup_.host_tier(), staging_name(home));
        item.arrive.push_back(copies_.evict(from, staged, subject));
        from = staged;
      }
      item.work.push_back(copies_.evict(from, home, subject));
      items.push_back(std::move(item));
    }
    pipeline(std::move(items), tiles_ahead, out);
  }
  [[nodiscard]] std::string staging_name(const Spot& of) const {
    const std::string& name = program_.at(of.buffer).name;
    return "staging." + name.substr(0, name.find(']') + 1);
  }
  static Subject subject_of(const Moved& moved, std::uint32_t tile) {
    return {static_cast<std::uint16_t>(moved.state.bucket), tile, moved.runs[tile].range};
  }

  // What stays on the device is updated there; the rest where it was told to, at the same time.
  void emit_updates(std::vector<Step>& out) {
    std::vector<Item> items;
    std::vector<Step> kept;
    for (Step& update : updates_) {
      if (is_low(update))
        items.push_back(item_of(std::move(update)));
      else
        kept.push_back(in_place(std::move(update)));
    }
    updates_.clear();
    // The compute lane of a CPU issues the others' work: they start first.
    const bool others_first = setup_.model.target.kind == DeviceKind::cpu;
    if (others_first) pipeline(items, tiles_ahead, out);
    for (Step& step : kept) out.push_back(std::move(step));
    if (!others_first) pipeline(std::move(items), tiles_ahead, out);
  }
  [[nodiscard]] const Run* run_of(const Access& access, const Range& range) const {
    const auto found = moved_.find(access.buffer);
    if (found == moved_.end()) return nullptr;
    const std::vector<Run>& runs = found->second.runs;
    const auto run =
        std::lower_bound(runs.begin(), runs.end(), range.first,
                         [](const Run& a, std::uint64_t first) { return a.range.first < first; });
    expects(run != runs.end() && run->range == range, "tiers: an update is not one tile");
    return &*run;
  }
  [[nodiscard]] bool is_low(const Step& update) const {
    return std::any_of(update.accesses.begin(), update.accesses.end(), [&](const Access& access) {
      const Run* run = run_of(access, update.range);
      return run != nullptr && run->low;
    });
  }
  Step in_place(Step update) const {
    for (Access& access : update.accesses) {
      if (const Run* run = run_of(access, update.range)) access.first = run->first;
    }
    return update;
  }
  Item item_of(Step update) {
    Item item;
    const bool on_host = setup_.homes.updates_on_host;
    update.lane = on_host ? Lane::host : Lane::compute;
    const Subject subject{update.subject, update.tile, update.range};
    for (Access& access : update.accesses) {
      if (access.role == Role::control) continue;
      const Run* run = run_of(access, update.range);
      Spot at{access.buffer, access.first, access.size};
      if (run != nullptr) at = moved_.at(access.buffer).spot(*run);
      at = stage(at, access.mode, subject, item);
      access = {at.buffer, access.mode, at.first, at.size, access.role, access.index};
    }
    item.work.push_back(std::move(update));
    return item;
  }
  // Where the update finds an operand; copies there and back for what it reads and writes.
  Spot stage(Spot at, Mode mode, const Subject& subject, Item& item) {
    const Tier host = setup_.host_tier(), site = setup_.homes.updates_on_host ? host : Tier::device;
    std::vector<Step> back;
    while (program_.at(at.buffer).tier != site) {
      const Tier from = program_.at(at.buffer).tier;
      const bool nearer = from != Tier::device;
      const Spot next = copies_.staging(at, from == host ? Tier::device : host, staging_name(at));
      if (mode != Mode::write)
        item.arrive.push_back(nearer ? copies_.fetch(at, next, subject)
                                     : copies_.evict(at, next, subject));
      back.push_back(nearer ? copies_.evict(next, at, subject) : copies_.fetch(next, at, subject));
      at = next;
    }
    if (mode == Mode::read) return at;
    for (std::size_t i = back.size(); i-- > 0;) item.leave.push_back(std::move(back[i]));
    return at;
  }

  Program& program_;
  const Setup& setup_;
  Buffers buffers_;
  Copies copies_;
  std::map<BufferId, Moved> moved_;
  std::vector<Visit> visits_;
  std::vector<Step> updates_;
};

}  // namespace

Program tiers(Program program, const Setup& setup) {
  if (!setup.homes.all_on_device()) Tiers(program, setup).run();
  return program;
}

}  // namespace sherd::plan
