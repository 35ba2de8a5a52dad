#include "engine/runner.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "engine/bound.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/kernels/block8.hpp"
#include "sherd/kernels/elementwise.hpp"
#include "sherd/kernels/reduction.hpp"

namespace sherd::engine {

using plan::Step;
using plan::Verb;

namespace {

// Of a value that may lie on a device.
template <class T>
std::span<std::byte> raw(T& value) {
  return std::as_writable_bytes(std::span(&value, 1));
}

}  // namespace

std::uint64_t Runner::leaf(const Moment& moment) const {
  return moment.micro * static_cast<std::uint64_t>(world_) + static_cast<std::uint64_t>(rank_);
}

void Runner::visit(std::uint32_t index, const Moment& moment) {
  const Step& step = parts_.scheduled.program.steps[index];
  if (!bound_[index]) return transfer(step, transfers_[index]);
  Bound& bound = *bound_[index];
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
      return update(step, bound);
    case Verb::widen:
      return widen(bound);
    case Verb::fetch:
    case Verb::evict:
      return;
  }
}

void Runner::prepare(std::uint32_t index, const Moment& moment) {
  const Step& step = parts_.scheduled.program.steps[index];
  if (step.verb != Verb::feed) return;
  fed_->block(parts_.engine.abort, parts_.watch);  // the device has taken what was there
  Bound& bound = *bound_[index];
  if (step.subject == 0) {
    fill({bound.inputs_host, bound.labels_host}, moment);
  } else {
    *bound.fed_host = fed;
  }
}

void Runner::queued(std::uint32_t index) {
  const Verb verb = parts_.scheduled.program.steps[index].verb;
  if (verb == Verb::feed) fed_->record(compute());
  if (verb == Verb::decide) verdict_->record(compute());
}

std::string Runner::varies(std::uint32_t index) const {
  const Step& step = parts_.scheduled.program.steps[index];
  const bool block =
      step.verb == Verb::forward || step.verb == Verb::backward || step.verb == Verb::loss;
  if (block && trains_ && spec_.blocks[step.subject].random)
    return spec_.blocks[step.subject].name + " draws new random bits at every step";
  const bool rounds =
      step.verb == Verb::backward || step.verb == Verb::loss || step.verb == Verb::reduce;
  if (rounds && trains_ && parts_.engine.plan.setup.formats.grad == DType::bf16)
    return "gradients are rounded with new random bits at every step";
  return {};
}

void Runner::await_verdict() const { verdict_->block(parts_.engine.abort, parts_.watch); }

void Runner::fill(const Batch& batch, const Moment& moment) {
  const std::uint64_t at = trains_ ? moment.step : moment.micro;
  parts_.loader.fill(at, trains_ ? leaf(moment) : static_cast<std::uint64_t>(rank_), batch.inputs,
                     batch.labels);
}

void Runner::feed(const Step& step, Bound& bound, const Moment& moment) {
  if (parts_.device != nullptr) return feed_device(step, bound);
  if (step.subject == 0) return fill(bound.batch, moment);
  bound.control->update.lr = fed.lr;
  bound.control->update.bias1 = fed.bias1;
  bound.control->update.bias2 = fed.bias2;
  std::memcpy(bound.vote_local.data, &fed.wishes, sizeof fed.wishes);
}

void Runner::feed_device(const Step& step, Bound& bound) {
  if (step.subject == 0) {
    device::copy(bound.batch.inputs.raw(), bound.inputs_host.raw(), compute());
    device::copy(bound.batch.labels.raw(), bound.labels_host.raw(), compute());
  } else {
    optim::Fed& from = *bound.fed_host;
    kernels::UpdateScalars& to = bound.control->update;  // an address on the device
    device::copy(raw(to.lr), raw(from.lr), compute());
    device::copy(raw(to.bias1), raw(from.bias1), compute());
    device::copy(raw(to.bias2), raw(from.bias2), compute());
    device::copy({bound.vote_local.data, sizeof from.wishes}, raw(from.wishes), compute());
  }
}

// A block that did not ask for random bits gets none that change.
Philox Runner::dropout_bits(const Step& step, const Moment& moment) const {
  const model::BlockSpec& block = spec_.blocks[step.subject];
  const std::uint64_t name = hash_name(block.name);
  if (!block.random) return philox(parts_.engine.seed, Purpose::dropout, {name});
  return philox(parts_.engine.seed, Purpose::dropout, {name, moment.step, leaf(moment)});
}

void Runner::forward(const Step& step, Bound& bound, const Moment& moment) {
  const Philox rng = dropout_bits(step, moment);
  parts_.engine.model.blocks[step.subject].block->forward({compute(), bound.batch, rng, bound.in,
                                                           bound.out, bound.scratch, bound.params,
                                                           bound.saves, trains_});
}

// Each (parameter, step, leaf) has its own bits; the writer's block too, so tied writers never
// share them.
void Runner::key_grads(const Step& step, Bound& bound, const Moment& moment) const {
  for (std::size_t i = 0; i < bound.grads.size(); ++i) {
    bound.grads[i].round = philox(parts_.engine.seed, Purpose::gradient_rounding,
                                  {bound.grad_names[i], step.subject, moment.step, leaf(moment)});
  }
  for (const std::span<std::byte> gap : bound.gaps) kernels::zero(gap, compute());
}

void Runner::loss(const Step& step, Bound& bound, const Moment& moment) {
  key_grads(step, bound, moment);
  const float* scale = bound.control != nullptr ? &bound.control->scale : nullptr;
  parts_.engine.model.head->loss({compute(), bound.batch, bound.in, bound.d_in, bound.scratch,
                                  bound.params, bound.grads, scale, parts_.decide.nominal_tokens,
                                  bound.vote_local.as<kernels::LossSum>()});
}

void Runner::backward(const Step& step, Bound& bound, const Moment& moment) {
  key_grads(step, bound, moment);
  const Philox rng = dropout_bits(step, moment);
  const std::span<const bool> lost(bound.lost.get(), bound.saves.size());
  parts_.engine.model.blocks[step.subject].block->backward(
      {compute(), bound.batch, rng, bound.in, bound.d_out, bound.d_in, bound.scratch, bound.params,
       bound.saves, lost, bound.grads});
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
  if (step.group != plan::Group::none)
    return parts_.engine.comm.reduce_scatter(call, {bound.label, step.subject});
  // Alone, the sum over ranks is this rank's own term.
  const std::byte* own = bound.full.data;
  kernels::fold({{&own, 1}, call.shard, call.mode, call.order, call.round, call.first}, compute());
}

void Runner::norm(const Step& step, Bound& bound) {
  kernels::square_norm(bound.full, *bound.vote_local.as<kernels::NormSum>(), stream(step.lane));
}

void Runner::vote(Bound& bound) {
  if (world_ == 1) {
    device::copy(bound.vote_global.raw(), bound.vote_local.raw(), compute());
  } else {
    parts_.engine.comm.all_reduce(bound.vote_local, bound.vote_global, {"vote"});
  }
}

void Runner::decide(const Step& step, Bound& bound) {
  const auto& vote = *bound.vote_global.as<optim::Vote>();
  if (step.subject == 0) {
    optim::decide(vote, parts_.decide, *bound.control, compute());
  } else {
    optim::report(vote, *bound.report, compute());
  }
  kernels::zero(bound.vote_local.raw(), compute());
  if (parts_.device == nullptr) return;
  auto* verdict = step.subject == 0 ? reinterpret_cast<std::byte*>(bound.control)
                                    : reinterpret_cast<std::byte*>(bound.report);
  device::copy(bound.verdict_host, {verdict, bound.verdict_host.size()}, compute());
}

void Runner::update(const Step& step, Bound& bound) {
  device::Stream& on = stream(step.lane);
  for (const kernels::UpdateArgs& args : bound.updates) {
    switch (parts_.engine.optimizer.optimizer) {
      case optim::Kind::adamw:
        kernels::adamw(args, on);
        break;
      case optim::Kind::lion:
        kernels::lion(args, on);
        break;
      case optim::Kind::sgd:
        kernels::sgd(args, on);
        break;
    }
  }
}

void Runner::widen(Bound& bound) { kernels::decode_blocks(bound.from, bound.to, compute()); }

void Runner::transfer(const Step& step, const Transfer& what) {
  if (step.lane != plan::Lane::disk) return device::copy(what.to, what.from, stream(step.lane));
  const bool fetch = step.verb == Verb::fetch;
  const plan::Access& on_file = fetch ? step.accesses.front() : step.accesses.back();
  std::array<char, 96> text{};
  const auto label = fmt::format_to_n(text.data(), text.size(), "{} tile {}",
                                      parts_.scheduled.program.at(on_file.buffer).name, step.tile);
  const std::string_view name(text.data(), std::min(label.size, text.size()));
  io::RecordFile& file = *parts_.engine.file;
  if (fetch) {
    file.read(what.offset, what.to, what.payload, name);
  } else {
    file.write(what.offset, what.from, what.payload, name);
  }
}

}  // namespace sherd::engine
