#include "engine/runner.hpp"

#include <cstring>

#include "engine/bound.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/kernels/elementwise.hpp"
#include "sherd/kernels/reduction.hpp"

namespace sherd::engine {

using plan::Step;
using plan::Verb;

std::uint64_t Runner::leaf(const Moment& moment) const {
  return moment.micro * static_cast<std::uint64_t>(world_) + static_cast<std::uint64_t>(rank_);
}

void Runner::visit(std::uint32_t index, const Moment& moment) {
  const Step& step = parts_.scheduled.program.steps[index];
  Bound& bound = bound_[index];
  switch (step.verb) {
    case Verb::feed:
      return feed(step, bound, moment);
    case Verb::forward:
      return forward(step, bound, moment);
    case Verb::loss:
      return loss(step, bound, moment);
    case Verb::backward:
      return backward(step, bound, moment);
    case Verb::gather:
      return gather(step, bound);
    case Verb::reduce:
      return reduce(step, bound, moment);
    case Verb::norm:
      return norm(step, bound);
    case Verb::vote:
      return vote(bound);
    case Verb::decide:
      return decide(step, bound);
    case Verb::update:
      return update(bound);
    case Verb::fetch:
    case Verb::evict:
      throw_usage("engine: no pass emits fetch or evict yet");
  }
}

void Runner::feed(const Step& step, Bound& bound, const Moment& moment) {
  if (step.subject == 0) {
    const std::uint64_t at = trains_ ? moment.step : moment.micro;
    parts_.loader.fill(at, trains_ ? leaf(moment) : static_cast<std::uint64_t>(rank_),
                       bound.batch.inputs, bound.batch.labels);
    return;
  }
  bound.control->update.lr = static_cast<float>(fed.lr);
  bound.control->update.bias1 = fed.bias1;
  bound.control->update.bias2 = fed.bias2;
  const std::int64_t stop = fed.stop ? 1 : 0;
  std::memcpy(bound.vote_local.data, &stop, sizeof stop);
}

void Runner::forward(const Step& step, Bound& bound, const Moment& moment) {
  const Philox rng =
      philox(parts_.engine.seed, Purpose::dropout,
             {hash_name(spec_.blocks[step.subject].name), moment.step, leaf(moment)});
  parts_.engine.model.blocks[step.subject].block->forward({parts_.compute, bound.batch, rng,
                                                           bound.in, bound.out, bound.scratch,
                                                           bound.params, bound.saves, trains_});
}

// Each (parameter, step, leaf) has its own bits; the writer's block too, so tied writers never
// share them.
void Runner::key_grads(const Step& step, Bound& bound, const Moment& moment) const {
  for (std::size_t i = 0; i < bound.grads.size(); ++i) {
    bound.grads[i].round = philox(parts_.engine.seed, Purpose::gradient_rounding,
                                  {bound.grad_names[i], step.subject, moment.step, leaf(moment)});
  }
  for (const std::span<std::byte> gap : bound.gaps) kernels::zero(gap, parts_.compute);
}

void Runner::loss(const Step& step, Bound& bound, const Moment& moment) {
  key_grads(step, bound, moment);
  const float* scale = bound.control != nullptr ? &bound.control->scale : nullptr;
  parts_.engine.model.head->loss({parts_.compute, bound.batch, bound.in, bound.d_in, bound.scratch,
                                  bound.params, bound.grads, scale, parts_.decide.nominal_tokens,
                                  bound.vote_local.as<kernels::LossSum>()});
}

void Runner::backward(const Step& step, Bound& bound, const Moment& moment) {
  key_grads(step, bound, moment);
  const Philox rng =
      philox(parts_.engine.seed, Purpose::dropout,
             {hash_name(spec_.blocks[step.subject].name), moment.step, leaf(moment)});
  const std::span<const bool> lost(bound.lost.get(), bound.saves.size());
  parts_.engine.model.blocks[step.subject].block->backward(
      {parts_.compute, bound.batch, rng, bound.in, bound.d_out, bound.d_in, bound.scratch,
       bound.params, bound.saves, lost, bound.grads});
}

void Runner::gather(const Step& step, Bound& bound) {
  parts_.engine.comm.all_gather(bound.shard, bound.full, {bound.label, step.subject});
}

void Runner::reduce(const Step& step, Bound& bound, const Moment& moment) {
  // Bits of an element follow its place in the model, not in a bucket or shard.
  const Philox round =
      philox(parts_.engine.seed, Purpose::gradient_rounding, {moment.step, moment.micro});
  const shard::Layout& layout = parts_.engine.plan.setup.layout;
  comm::ReduceScatter call{
      bound.full, bound.shard, bound.reduce_mode, kernels::FoldOrder::fast, nullptr, 0};
  if (bound.full.type == DType::bf16) call.round = &round;
  call.first = layout.global_index(step.subject) + layout.shard(step.subject, rank_).first;
  if (parts_.engine.reduce_order == plan::ReduceOrder::canonical)
    call.order = kernels::FoldOrder::left;
  parts_.engine.comm.reduce_scatter(call, {bound.label, step.subject});
}

void Runner::norm(const Step& step, Bound& bound) {
  device::Stream& stream = step.lane == plan::Lane::net ? parts_.net : parts_.compute;
  kernels::square_norm(bound.full, *bound.vote_local.as<kernels::NormSum>(), stream);
}

void Runner::vote(Bound& bound) {
  if (world_ == 1) {
    std::memcpy(bound.vote_global.data, bound.vote_local.data, bound.vote_local.bytes());
  } else {
    parts_.engine.comm.all_reduce(bound.vote_local, bound.vote_global, {"vote"});
  }
}

void Runner::decide(const Step& step, Bound& bound) {
  const auto& vote = *bound.vote_global.as<optim::Vote>();
  if (step.subject == 0) {
    optim::decide(vote, parts_.decide, *bound.control, parts_.compute);
  } else {
    const auto tokens = static_cast<double>(vote.loss.tokens);
    const bool finite = vote.loss.nonfinite == 0 && tokens > 0;
    *bound.report = {
        finite ? vote.loss.loss.value() / tokens : std::numeric_limits<double>::quiet_NaN(),
        tokens};
  }
  std::memset(bound.vote_local.data, 0, sizeof(optim::Vote));
}

void Runner::update(Bound& bound) {
  for (const kernels::UpdateArgs& args : bound.updates) {
    switch (parts_.engine.optimizer.optimizer) {
      case optim::Kind::adamw:
        kernels::adamw(args, parts_.compute);
        break;
      case optim::Kind::lion:
        kernels::lion(args, parts_.compute);
        break;
      case optim::Kind::sgd:
        kernels::sgd(args, parts_.compute);
        break;
    }
  }
}

}  // namespace sherd::engine
