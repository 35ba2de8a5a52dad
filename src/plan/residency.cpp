#include <algorithm>
#include <optional>

#include "plan/draft.hpp"
#include "plan/intervals.hpp"
#include "sherd/plan/passes.hpp"

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

// Stage 3: the persistent buffer shrinks to the shard; uses read short-lived copies.
void gather_always(Program& program, const Setup& setup) {
  const std::size_t buckets = setup.layout.buckets().size();
  std::vector<BufferId> shards(buckets);
  std::vector<std::vector<Interval>> spans(buckets);
  for (std::size_t b = 0; b < buckets; ++b) {
    shards[b] = find_buffer(program, bucket_name("p.full", b));
    for (const Phase& phase : program.phases) {
      for (const Interval& span :
           intervals(program, phase, [&](const Step& step) { return uses(setup, step, b); }))
        spans[b].push_back(span);
    }
  }
  std::vector<Bytes> full_bytes(buckets);
  for (std::size_t b = 0; b < buckets; ++b) {
    full_bytes[b] = program.at(shards[b]).size;
    shrink(program, shards[b], bucket_name("p.shard", b),
           full_bytes[b] / static_cast<Bytes>(setup.world()));
  }
  Buffers fresh(program);
  std::vector<BufferId> current(buckets);
  std::vector<std::size_t> next(buckets, 0);
  rewrite(program, [&](std::size_t, std::uint32_t index, const Step& old, std::vector<Step>& out) {
    Step step = old;
    for (Access& access : step.accesses) {
      const auto bucket = bucket_of(setup, step, access);
      if (!bucket) continue;
      const std::size_t b = *bucket;
      if (next[b] < spans[b].size() && spans[b][next[b]].first == index) {
        ++next[b];
        current[b] = fresh.add({bucket_name("p.full", b), Tier::device, Use::comm,
                                setup.formats.param, full_bytes[b], false});
        out.push_back(gather_step(program, b, shards[b], current[b]));
      }
      access.buffer = current[b];
    }
    out.push_back(std::move(step));
  });
}

}  // namespace

Program residency(Program program, const Setup& setup) {
  if (setup.shard_params) {
    gather_always(program, setup);
  } else if (setup.shard_optimizer) {
    gather_once(program, setup);
  }
  return program;
}

}  // namespace sherd::plan
