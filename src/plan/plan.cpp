#include "sherd/plan/plan.hpp"

#include <array>

#include "plan/draft.hpp"
#include "sherd/plan/reserve.hpp"

namespace sherd::plan {

Bytes Plan::need(Tier tier) const {
  const auto arena = [&](Tier of) { return memory.arena[static_cast<std::size_t>(of)]; };
  if (tier == Tier::host) return arena(Tier::host) + arena(Tier::pinned);
  return arena(tier) + (tier == Tier::device ? runtime : 0);
}

Plan make_plan(Setup setup) {
  std::vector<Program> programs;
  programs.push_back(train_program(setup));
  if (setup.eval_batches > 0) programs.push_back(evaluate_program(setup));
  if (setup.saves) programs.push_back(snapshot_program(setup, programs.front()));
  MemoryPlan memory = place(programs, setup.window);
  const auto schedule = [&](std::size_t p) {
    std::vector<Wait> waits = order(programs[p], memory.at[p]);
    return Scheduled{std::move(programs[p]), memory.at[p], std::move(waits)};
  };
  Plan plan{std::move(setup), schedule(0), std::nullopt, std::nullopt, {}, 0};
  if (plan.setup.eval_batches > 0) plan.evaluate = schedule(1);
  if (plan.setup.saves) plan.snapshot = schedule(programs.size() - 1);
  plan.memory = std::move(memory);
  plan.runtime = runtime_reserve(plan.setup.model.target);
  return plan;
}

Wire wire_bytes(const Program& program, int world) {
  Wire wire;
  const auto n = static_cast<Bytes>(world);
  for (const Phase& phase : program.phases) {
    for (std::uint32_t i = phase.first; i < phase.last; ++i) {
      const Step& step = program.steps[i];
      if (step.group == Group::none) continue;
      for (const Access& access : step.accesses) {
        const Bytes slices = access.size / n * (n - 1) * phase.repeat;
        if (access.role == Role::full && step.verb == Verb::gather) wire.all_gather += slices;
        if (access.role == Role::full && step.verb == Verb::reduce) wire.reduce_scatter += slices;
        if (access.role == Role::vote_local && step.verb == Verb::vote) {
          const Bytes words = access.size / sizeof(std::int64_t);
          wire.all_reduce +=
              (words % n == 0 ? 2 * access.size / n * (n - 1) : access.size * (n - 1)) *
              phase.repeat;
        }
      }
    }
  }
  return wire;
}

Moves moved_bytes(const Program& program) {
  Moves moves;
  for (const Phase& phase : program.phases) {
    for (std::uint32_t i = phase.first; i < phase.last; ++i) {
      const Step& step = program.steps[i];
      if (step.verb != Verb::fetch && step.verb != Verb::evict) continue;
      const bool fetch = step.verb == Verb::fetch, disk = step.lane == Lane::disk;
      const Bytes bytes = step.accesses[fetch ? 0 : step.accesses.size() - 1].size * phase.repeat;
      (disk ? (fetch ? moves.read : moves.written)
            : (fetch ? moves.to_device : moves.from_device)) += bytes;
    }
  }
  return moves;
}

ByUse persistent_bytes(const Program& program, Tier tier) {
  ByUse bytes{};
  for (const Buffer& buffer : program.buffers) {
    if (buffer.persistent && buffer.tier == tier)
      bytes[static_cast<std::size_t>(buffer.use)] += buffer.size;
  }
  return bytes;
}

}  // namespace sherd::plan
