#pragma once
// What a rank must hold and send, from the table of docs/architecture.md: no plan is asked.
#include <string>
#include <vector>

#include "sherd/launch/run_config.hpp"
#include "sherd/memory/tier.hpp"
#include "sherd/optim/control.hpp"
#include "sherd/plan/plan.hpp"

namespace sherd::test {

/// Bytes of one padded parameter by kind of state.
struct StateFormats {
  Bytes param = 4, grad = 4, optimizer = 8;
};

[[nodiscard]] inline StateFormats adamw_formats(const optim::PrecisionConfig& precision) {
  StateFormats formats;
  if (precision.precision != optim::Precision::fp32) formats = {2, 4, 12};
  if (precision.grad_dtype == optim::GradDType::bf16) formats.grad = 2;
  return formats;
}

struct Accounted {
  plan::ByUse persistent{};
  plan::Wire wire;            // of one step
  Bytes gathers_at_most = 0;  // equals wire.all_gather below stage 3
};

/// `config` with an explicit reduce mode and AdamW; `padded`: elements of all buckets.
[[nodiscard]] inline Accounted account(const launch::RunConfig& config, std::uint64_t padded) {
  const auto n = static_cast<Bytes>(config.ranks.ranks);
  const int stage = n > 1 ? config.sharding.zero_stage : 0;
  const auto accum = static_cast<Bytes>(config.batch.grad_accum);
  const bool micro = config.sharding.reduce_every == plan::ReduceEvery::micro ||
                     config.sharding.reduce_order == plan::ReduceOrder::canonical;
  const Bytes r = micro ? accum : 1;
  const StateFormats f = adamw_formats(config.precision);
  const auto use = [](memory::Use u) { return static_cast<std::size_t>(u); };

  Accounted said;
  const Bytes g = f.grad * padded, p = f.param * padded, o = f.optimizer * padded;
  said.persistent[use(memory::Use::params)] = stage >= 3 ? p / n : p;
  said.persistent[use(memory::Use::optimizer)] = stage >= 1 ? o / n : o;
  Bytes& grads = said.persistent[use(memory::Use::grads)];
  grads = stage >= 2 && (micro || accum == 1) ? g / n : g;
  if (stage < 2 && r > 1) grads += g / n;
  said.persistent[use(memory::Use::control)] = 2 * sizeof(optim::Vote) + sizeof(optim::Control);

  if (n == 1) return said;
  const auto sent = [n](Bytes bytes) { return bytes / n * (n - 1); };
  said.wire.reduce_scatter = sent(g) * r;
  said.gathers_at_most = stage == 0 ? sent(g) : stage < 3 ? sent(p) : sent(p) * 2 * accum;
  said.wire.all_gather = said.gathers_at_most;
  const Bytes words = sizeof(optim::Vote) / 8;
  said.wire.all_reduce =
      words % n == 0 ? 2 * sent(sizeof(optim::Vote)) : sizeof(optim::Vote) * (n - 1);
  return said;
}

}  // namespace sherd::test
