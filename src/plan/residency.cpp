#include <algorithm>
#include <optional>

#include "plan/draft.hpp"
#include "plan/intervals.hpp"
#include "sherd/plan/passes.hpp"
#include "sherd/plan/tiles.hpp"

namespace sherd::plan {
namespace {

std::optional<std::size_t> bucket_of(const Setup& setup, const Step& step, const Access& access) {
  if (access.role != Role::param) return std::nullopt;
  return setup.layout.slots()[setup.model.blocks[step.subject].params[access.index]].bucket;
}

bool uses(const Setup& setup, const Step& step, std::size_t bucket) {
  return std::any_of(step.accesses.begin(), step.accesses.end(),
                     [&](const Access& a) { return bucket_of(setup, step, a) == bucket; });
}

Step gather_step(const Program& program, std::size_t bucket, std::optional<BufferId> shard,
                 BufferId full) {
  Step step{Verb::gather,
            Lane::net,
            Group::data,
            static_cast<std::uint16_t>(bucket),
            0,
            {},
            static_cast<double>(program.at(full).size)};
  if (shard) step.accesses.push_back(whole(program, *shard, Mode::read, Role::shard));
  step.accesses.push_back(whole(program, full, shard ? Mode::write : Mode::update, Role::full));
  return step;
}

Step widen_step(const Program& program, std::size_t bucket, BufferId from, BufferId to) {
  Step step{Verb::widen,
            Lane::compute,
            Group::none,
            static_cast<std::uint16_t>(bucket),
            0,
            {},
            static_cast<double>(program.at(to).size)};
  step.accesses.push_back(whole(program, from, Mode::read, Role::from));
  step.accesses.push_back(whole(program, to, Mode::write, Role::to));
  return step;
}

// Stages 1 and 2: every rank keeps the whole bucket and refreshes it once, before the first use.
void gather_once(Program& program, const Setup& setup) {
  std::vector<bool> done;  // what nobody updates is never stale
  for (const shard::Bucket& bucket : setup.layout.buckets()) done.push_back(!bucket.trainable);
  rewrite(program, [&](std::size_t phase, std::uint32_t, const Step& step, std::vector<Step>& out) {
    for (const Access& access : step.accesses) {
      const auto bucket = phase == 0 ? bucket_of(setup, step, access) : std::nullopt;
      if (!bucket || done[*bucket]) continue;
      done[*bucket] = true;
      out.push_back(gather_step(program, *bucket, std::nullopt, access.buffer));
    }
    out.push_back(step);
  });
}

/// A bucket whose persistent buffer is not what blocks read.
struct Stored {
  BufferId kept{};
  Bytes full = 0;               // of all its parameters as blocks read them
  std::vector<Interval> spans;  // of use, each with copies of its own
  std::size_t next = 0;
  BufferId current{};
};

// Stage 3 keeps shards, frozen parameters may be 8-bit blocks: the persistent buffer shrinks to
// that, and uses read short-lived copies.
class Copied {
 public:
  Copied(Program& program, const Setup& setup)
      : program_(program), setup_(setup), stored_(setup.layout.buckets().size()) {
    for (std::size_t b = 0; b < stored_.size(); ++b) {
      if (copied(b)) keep_stored(b);
    }
    fresh_.emplace(program_);
  }

  void run() {
    rewrite(program_,
            [&](std::size_t, std::uint32_t index, const Step& old, std::vector<Step>& out) {
              Step step = old;
              for (Access& access : step.accesses) {
                const auto bucket = bucket_of(setup_, step, access);
                if (!bucket || !copied(*bucket)) continue;
                Stored& stored = stored_[*bucket];
                if (stored.next < stored.spans.size() && stored.spans[stored.next].first == index) {
                  ++stored.next;
                  bring(*bucket, out);
                }
                access.buffer = stored.current;
              }
              out.push_back(std::move(step));
            });
  }

 private:
  [[nodiscard]] bool copied(std::size_t b) const { return setup_.shard_params || setup_.packs(b); }

  void keep_stored(std::size_t b) {
    Stored& stored = stored_[b];
    stored.kept = find_buffer(program_, bucket_name("p.full", b));
    stored.full = program_.at(stored.kept).size;
    for (const Phase& phase : program_.phases) {
      for (const Interval& span :
           intervals(program_, phase, [&](const Step& step) { return uses(setup_, step, b); }))
        stored.spans.push_back(span);
    }
    const StateBuffer as = param_buffer(setup_, b);
    shrink(program_, stored.kept, as.name, bytes_of(as.type, as.extent.count));
    program_.at(stored.kept).type = as.type;
  }

  void bring(std::size_t b, std::vector<Step>& out) {
    Stored& stored = stored_[b];
    const DType type = program_.at(stored.kept).type;
    stored.current = stored.kept;
    if (setup_.shard_params) {
      const char* name = setup_.packs(b) ? "q.full" : "p.full";
      const Bytes size = program_.at(stored.kept).size * static_cast<Bytes>(setup_.world());
      stored.current =
          fresh_->add({bucket_name(name, b), Tier::device, Use::comm, type, size, false});
      out.push_back(gather_step(program_, b, stored.kept, stored.current));
    }
    if (!setup_.packs(b)) return;
    const BufferId wide = fresh_->add({bucket_name("p.full", b), Tier::device, Use::params,
                                       setup_.formats.param, stored.full, false});
    out.push_back(widen_step(program_, b, stored.current, wide));
    stored.current = wide;
  }

  Program& program_;
  const Setup& setup_;
  std::vector<Stored> stored_;
  std::optional<Buffers> fresh_;  // once names are what they stay
};

}  // namespace

Program residency(Program program, const Setup& setup) {
  if (setup.shard_params || setup.formats.packs_frozen) Copied(program, setup).run();
  if (setup.shard_optimizer && !setup.shard_params) gather_once(program, setup);
  return program;
}

}  // namespace sherd::plan
