#include <algorithm>
#include <cmath>

#include "sherd/bench/memory.hpp"

namespace sherd::bench {
namespace {

using memory::Tier;
using memory::Use;

constexpr double quantum = 256, header = 4096, padding = 4095;  // of docs/architecture.md

Bytes states_in(const plan::Program& program, Tier tier) {
  const plan::ByUse kept = plan::persistent_bytes(program, tier);
  const auto of = [&](Use use) { return kept[static_cast<std::size_t>(use)]; };
  return of(Use::params) + of(Use::grads) + of(Use::optimizer);
}

}  // namespace

ByTier StateFormula::at_most() const {
  double device = 0, host = 0, file = 0;
  for (const StateKind& kind : kinds) {
    const bool split = stage >= kind.split_from;
    const double held = split ? parameters / ranks : parameters;
    if (kind.home == Tier::device) {
      device += kind.bytes * held;
      continue;
    }
    // Each bucket is cut in one place, or in each rank's shard where shards matter to an update.
    const double pieces = buckets * (split || stage == 0 ? 1 : ranks);
    const double low = std::min(held, fraction * held + quantum * pieces);
    device += kind.bytes * (1 - fraction) * held;
    const double records = low / tile + pieces;
    if (kind.home == Tier::file)
      file += kind.bytes * low + records * (header + padding);
    else
      host += kind.bytes * low;
  }
  const auto whole = [](double bytes) { return static_cast<Bytes>(std::floor(bytes + 0.5)); };
  return {whole(device), whole(host), whole(file)};
}

StateFormula formula_of(const plan::Setup& setup, int stage) {
  const plan::Formats& formats = setup.formats;
  const plan::Homes& homes = setup.homes;
  StateFormula formula{.parameters = static_cast<double>(setup.layout.padded()),
                       .ranks = setup.world(),
                       .stage = setup.world() > 1 ? stage : 0,
                       .buckets = static_cast<double>(setup.layout.buckets().size()),
                       .fraction = homes.fraction,
                       .tile = static_cast<double>(homes.tile),
                       .kinds = {}};
  const auto add = [&](double bytes, int split_from, Tier home) {
    formula.kinds.push_back({bytes, split_from, home});
  };
  const double moment =
      static_cast<double>(bytes_of(formats.moment_type, shard::quantum)) / shard::quantum;
  add(static_cast<double>(formats.param_bytes()), 3, homes.params);
  // Away from the device a rank keeps only gradients that it reads again: its own, or a sum that
  // later micro-steps add to.
  const bool sums_all = setup.grad_accum > 1 && !setup.reduce_every_micro;
  add(static_cast<double>(formats.grad_bytes()), homes.grads == Tier::device || sums_all ? 2 : 1,
      homes.grads);
  if (formats.master) add(static_cast<double>(size_of(formats.master_type)), 1, homes.master);
  for (int m = 0; m < formats.moments; ++m) add(moment, 1, homes.moments);
  return formula;
}

ByTier arenas_of(const plan::Plan& plan) {
  const auto arena = [&](Tier tier) { return plan.memory.arena[static_cast<std::size_t>(tier)]; };
  return {arena(Tier::device), plan.need(Tier::host), arena(Tier::file)};
}

MemoryFacts facts_of(const plan::Plan& plan, int stage) {
  const plan::Program& program = plan.train.program;
  return {.planned = arenas_of(plan),
          .states = {states_in(program, Tier::device),
                     states_in(program, Tier::host) + states_in(program, Tier::pinned),
                     states_in(program, Tier::file)},
          .formula = formula_of(plan.setup, stage).at_most(),
          .measured = {},
          .runtime = plan.runtime};
}

std::int64_t MemoryFacts::wrong() const {
  std::int64_t count = 0;
  for (Bytes ByTier::*tier : {&ByTier::device, &ByTier::host, &ByTier::file}) {
    count += states.*tier > formula.*tier ? 1 : 0;
    if (measured) count += (*measured).*tier != planned.*tier ? 1 : 0;
  }
  const Bytes need = planned.device + planned.host + runtime;
  return count + (rss_peak > need + 16 * mib + need / 100 ? 1 : 0);
}

}  // namespace sherd::bench
