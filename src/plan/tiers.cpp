// States that live on host or file. In micro-steps a whole copy is on the device from first to last
// use; updates run tile by tile where they are told to.
#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "plan/intervals.hpp"
#include "plan/tile_updates.hpp"
#include "plan/written.hpp"
#include "sherd/plan/passes.hpp"

namespace sherd::plan {
namespace {

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
      : program_(program),
        setup_(setup),
        buffers_(program),
        copies_(program, buffers_),
        moved_(program, buffers_, setup) {}

  void run() {
    for (const Phase& phase : program_.phases) plan_visits(phase);
    forget_unread();
    std::uint32_t last_update = 0;
    for (std::uint32_t i = 0; i < program_.steps.size(); ++i) {
      if (program_.steps[i].verb == Verb::update) last_update = i;
    }
    TileUpdates updates(program_, setup_, moved_, copies_);
    rewrite(program_,
            [&](std::size_t, std::uint32_t index, const Step& old, std::vector<Step>& out) {
              if (old.verb != Verb::update) return micro_step(index, old, out);
              updates.add(old);
              if (index == last_update) std::move(updates).put(out);
            });
    moved_.cut_buffers();
  }

 private:
  [[nodiscard]] static bool touches(const Step& step, BufferId id) {
    return step.verb != Verb::update &&
           std::any_of(step.accesses.begin(), step.accesses.end(),
                       [&](const Access& access) { return access.buffer == id; });
  }
  // Gradients that are summed elsewhere in every micro-step, or updated by peers, are not read
  // again: they have no home.
  void forget_unread() {
    std::set<BufferId> fetched;
    for (const Visit& visit : visits_) {
      if (visit.fetched) fetched.insert(visit.state);
    }
    std::map<BufferId, std::set<std::uint64_t>> updated;  // firsts of ranges
    for (const Step& step : program_.steps) {
      if (step.verb != Verb::update) continue;
      for (const Access& access : step.accesses) updated[access.buffer].insert(step.range.first);
    }
    for (const auto& [id, moved] : moved_.all()) {
      if (!fetched.contains(id)) moved_.keep_only(id, updated[id]);
    }
  }

  // A gradient stays from its first writer to its norm; parameters come and go with their uses.
  void plan_visits(const Phase& phase) {
    for (const auto& [id, moved] : moved_.all()) {
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
    Written written;
    for (std::uint32_t i = span.first; i <= span.last; ++i) {
      for (const Access& access : program_.steps[i].accesses) {
        if (access.buffer != id) continue;
        if (reads(access) && !written.covers(access.first, access.first + access.size))
          visit.fetched = true;
        if (writes(access)) visit.written = i;
      }
      for (const Access& access : program_.steps[i].accesses) {
        if (access.buffer == id && writes(access))
          written.add(access.first, access.first + access.size);
      }
    }
    return visit;
  }
  void micro_step(std::uint32_t index, const Step& old, std::vector<Step>& out) {
    Step step = old;
    for (const Visit& visit : visits_) {
      if (visit.span.first > index || visit.span.last < index) continue;
      if (visit.span.first == index && visit.fetched) carry(visit, Verb::fetch, out);
      for (Access& access : step.accesses) {
        if (access.buffer == visit.state) access.buffer = visit.copy;
      }
    }
    out.push_back(std::move(step));
    for (const Visit& visit : visits_) {
      if (visit.written == index) carry(visit, Verb::evict, out);
    }
  }
  [[nodiscard]] Spot in_copy(const Visit& visit, const Run& run) const {
    const Moved& moved = moved_.at(visit.state);
    return {visit.copy, bytes_of(moved.state.type, run.range.first - moved.state.extent.first),
            run.size};
  }
  // Between home and the copy; what is on file by way of the host.
  void carry(const Visit& visit, Verb way, std::vector<Step>& out) {
    const Moved& moved = moved_.at(visit.state);
    const auto step = [&](const Spot& farther, const Spot& nearer, const Subject& subject) {
      const bool fetch = way == Verb::fetch;
      return copies_.copy(way, fetch ? farther : nearer, fetch ? nearer : farther, subject);
    };
    std::vector<Item> items;
    for (std::uint32_t tile = 0; tile < moved.runs.size(); ++tile) {
      const Run& run = moved.runs[tile];
      const Subject subject = subject_of(moved, tile);
      const Spot home = moved.spot(run), copy = in_copy(visit, run);
      Item item;
      if (moved.on_file(run)) {
        const Spot staged = copies_.staging(home, setup_.host_tier(), moved_.staging_name(home));
        item.arrive.push_back(step(home, staged, subject));
        item.work.push_back(step(staged, copy, subject));
        if (way == Verb::evict) std::swap(item.arrive, item.work);
      } else {
        item.work.push_back(step(home, copy, subject));
      }
      items.push_back(std::move(item));
    }
    pipeline(std::move(items), tiles_ahead, out);
  }
  static Subject subject_of(const Moved& moved, std::uint32_t tile) {
    return {static_cast<std::uint16_t>(moved.state.bucket), tile, moved.runs[tile].range};
  }

  Program& program_;
  const Setup& setup_;
  Buffers buffers_;
  Copies copies_;
  MovedStates moved_;
  std::vector<Visit> visits_;
};

}  // namespace

Program tiers(Program program, const Setup& setup) {
  if (!setup.homes.all_on_device()) Tiers(program, setup).run();
  return program;
}

}  // namespace sherd::plan
