// From declared accesses to typed arguments: done once, before the first step.
#include <fmt/format.h>

#include "engine/bound.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/model/lora.hpp"

namespace sherd::engine {

using plan::Access;
using plan::Mode;
using plan::Role;
using plan::Step;
using plan::Verb;

Runner::Runner(const Parts& parts)
    : parts_(parts),
      spec_(parts.engine.plan.setup.model),
      world_(parts.engine.plan.setup.world()),
      rank_(parts.engine.plan.setup.rank),
      trains_(parts.scheduled.program.name == "train") {
  for (const Step& step : parts_.scheduled.program.steps) {
    const bool transfers = step.verb == Verb::fetch || step.verb == Verb::evict;
    transfers_.push_back(transfers ? bind_transfer(step) : Transfer{});
    bound_.push_back(transfers ? nullptr : std::make_unique<Bound>(bind(step)));
  }
  if (parts.device == nullptr) return;
  fed_.emplace(*parts.device);
  verdict_.emplace(*parts.device);
}

Runner::~Runner() = default;

View Runner::view(const Access& access, Shape shape) const {
  const plan::Buffer& buffer = parts_.scheduled.program.at(access.buffer);
  const Bytes at = parts_.scheduled.at[plan::index_of(access.buffer)].offset + access.first;
  return {parts_.engine.arenas[static_cast<std::size_t>(buffer.tier)].data() + at, shape,
          buffer.type};
}

View Runner::flat(const Access& access) const {
  const DType type = parts_.scheduled.program.at(access.buffer).type;
  return view(access, {1, static_cast<std::int64_t>(numel_of(type, access.size))});
}

// Collectives count elements; 8-bit blocks are bytes to them.
View Runner::sent(const Access& access) const {
  const View all = flat(access);
  if (all.type != DType::q8) return all;
  return {all.data, {1, static_cast<std::int64_t>(access.size)}, DType::u8};
}

Runner::Bound Runner::bind(const Step& step) const {
  Bound bound;
  if (step.verb == Verb::gather || step.verb == Verb::reduce) bound.label = label_of(step);
  if (step.verb == Verb::forward || step.verb == Verb::loss || step.verb == Verb::backward)
    bind_block(step, bound);
  for (const Access& access : step.accesses) bind_access(step, access, bound);
  // In place: a rank's shard is its own slice of the whole.
  if (bound.full && !bound.shard) {
    const std::int64_t count = bound.full.numel() / world_;
    bound.shard = {bound.full.data + static_cast<Bytes>(count * rank_) * size_of(bound.full.type),
                   {1, count},
                   bound.full.type};
  }
  if (step.verb == Verb::update) bind_segments(step, bound);
  return bound;
}

// What a collective is about, in words that fit an error.
std::string Runner::label_of(const Step& step) const {
  const shard::Bucket& bucket = parts_.engine.plan.setup.layout.buckets()[step.subject];
  const bool grads =
      parts_.scheduled.program.at(step.accesses.back().buffer).use == plan::Use::grads;
  return fmt::format("{} {} of bucket {} ({})", plan::name_of(step.verb),
                     grads ? "gradients" : "parameters", step.subject, bucket.name);
}

void Runner::bind_access(const Step& step, const Access& access, Bound& bound) const {
  const data::SampleShape& sample = parts_.engine.plan.setup.sample;
  const auto words = [&] {
    return View{flat(access).data, {1, static_cast<std::int64_t>(access.size / 8)}, DType::i64};
  };
  switch (access.role) {
    case Role::inputs:
      bound.batch.inputs = view(access, {spec_.rows.rows, sample.input_cols});
      break;
    case Role::labels:
      bound.batch.labels = view(access, {spec_.rows.rows, sample.label_cols});
      break;
    case Role::shard:
      bound.shard = sent(access);
      bound.reduce_mode = access.mode == Mode::update ? Write::add : Write::set;
      break;
    case Role::full:
      bound.full = sent(access);
      break;
    case Role::from:
      bound.from = flat(access);
      break;
    case Role::to:
      bound.to = flat(access);
      break;
    case Role::control:
      bound.control = flat(access).as<optim::Control>();
      break;
    case Role::report:
      bound.report = flat(access).as<optim::EvalReport>();
      break;
    case Role::vote_local:
      bound.vote_local = words();
      break;
    case Role::vote_global:
      bound.vote_global = words();
      break;
    case Role::grad:
      if (step.verb == Verb::norm) bound.full = flat(access);
      break;
    default:
      bind_mirror(access, bound);
  }
}

void Runner::bind_mirror(const Access& access, Bound& bound) const {
  const data::SampleShape& sample = parts_.engine.plan.setup.sample;
  switch (access.role) {
    case Role::inputs_host:
      bound.inputs_host = view(access, {spec_.rows.rows, sample.input_cols});
      bound.inputs_host.type = sample.input_type;
      break;
    case Role::labels_host:
      bound.labels_host = view(access, {spec_.rows.rows, sample.label_cols});
      bound.labels_host.type = sample.label_type;
      break;
    case Role::fed_host:
      bound.fed_host = flat(access).as<optim::Fed>();
      break;
    case Role::verdict_host:
      bound.verdict_host = flat(access).raw();
      if (access.mode == Mode::read) bound.control = flat(access).as<optim::Control>();
      break;
    default:
      break;
  }
}

void Runner::bind_block(const Step& step, Bound& bound) const {
  const model::BlockSpec& block = spec_.blocks[step.subject];
  bound.params.resize(block.params.size());
  if (trains_ && step.verb != Verb::forward) {
    bound.grads.resize(block.params.size());
    bound.grad_names.resize(block.params.size());
  }
  bound.saves.resize(block.saves.size());
  bound.lost = std::make_unique<bool[]>(block.saves.size() + 1);
  for (const Access& access : step.accesses) {
    switch (access.role) {
      case Role::in:
        bound.in = view(access, block.in);
        break;
      case Role::out:
        bound.out = view(access, block.out);
        break;
      case Role::d_in:
        bound.d_in = view(access, block.in);
        break;
      case Role::d_out:
        bound.d_out = view(access, block.out);
        break;
      case Role::scratch:
        bound.scratch = flat(access);
        break;
      case Role::save:
        bound.saves[access.index] = view(access, block.saves[access.index].shape);
        bound.lost[access.index] = access.mode == Mode::write;
        break;
      case Role::param:
      case Role::grad:
        bind_param(step, access, bound);
        break;
      default:
        break;
    }
  }
}

void Runner::bind_param(const Step& step, const Access& access, Bound& bound) const {
  const std::size_t param = spec_.blocks[step.subject].params[access.index];
  const model::ParamSpec& spec = spec_.params[param];
  const View values = view(access, spec.shape);
  if (access.role == Role::param) {
    bound.params[access.index] = values;
    return;
  }
  const bool starts = access.mode == Mode::write;
  bound.grads[access.index] = {values, starts ? Write::set : Write::add, {}};
  bound.grad_names[access.index] = hash_name(spec.name);
  if (starts && access.size > values.bytes())
    bound.gaps.push_back(std::span(values.data, access.size).subspan(values.bytes()));
}

// A record's staging holds its header before and its padding behind the payload.
Runner::Transfer Runner::bind_transfer(const Step& step) const {
  const plan::Program& program = parts_.scheduled.program;
  const auto bytes = [&](const Access& access) {
    const auto tier = static_cast<std::size_t>(program.at(access.buffer).tier);
    const Bytes at = parts_.scheduled.at[plan::index_of(access.buffer)].offset + access.first;
    return parts_.engine.arenas[tier].subspan(at, access.size);
  };
  Transfer transfer;
  for (Access access : step.accesses) {
    if (access.role == Role::frame) continue;
    const plan::Buffer& buffer = program.at(access.buffer);
    if (buffer.tier == plan::Tier::file) {
      transfer.payload = bytes_of(buffer.type, step.range.count);
      transfer.offset = parts_.scheduled.at[plan::index_of(access.buffer)].offset + access.first;
      continue;
    }
    if (step.lane == plan::Lane::disk) {  // the staging buffer is the record
      access.first = 0;
      access.size = buffer.size;
    }
    (access.role == Role::from ? transfer.from : transfer.to) = bytes(access);
  }
  return transfer;
}

// An update tile by parameters, because weight decay changes between them. Each takes the padding
// behind it along, which stays zero: 8-bit blocks are whole, and a staged parameter is all written.
void Runner::bind_segments(const Step& step, Bound& bound) const {
  const plan::Setup& setup = parts_.engine.plan.setup;
  const optim::OptimizerConfig& optimizer = parts_.engine.optimizer;
  kernels::UpdateArgs whole;
  for (const Access& access : step.accesses) {
    if (access.role == Role::grad) whole.grad = flat(access);
    if (access.role == Role::master) whole.master = flat(access);
    if (access.role == Role::moment1) whole.m = flat(access);
    if (access.role == Role::moment2) whole.v = flat(access);
    if (access.role == Role::stored) whole.param = flat(access);
  }
  whole.beta1 = static_cast<float>(optimizer.beta1);
  whole.beta2 = static_cast<float>(optimizer.beta2);
  whole.eps = static_cast<float>(optimizer.eps);
  whole.scalars = &bound.control->update;
  whole.round = philox(parts_.engine.seed, Purpose::state_rounding, {});
  const auto cut = [](View v, std::uint64_t first, std::uint64_t count) {
    if (!v) return v;
    return View{v.data + bytes_of(v.type, first), {1, static_cast<std::int64_t>(count)}, v.type};
  };
  const auto add = [&](std::uint64_t first, std::uint64_t count, float weight_decay) {
    kernels::UpdateArgs args = whole;
    for (View kernels::UpdateArgs::*field :
         {&kernels::UpdateArgs::grad, &kernels::UpdateArgs::master, &kernels::UpdateArgs::m,
          &kernels::UpdateArgs::v, &kernels::UpdateArgs::param}) {
      args.*field = cut(whole.*field, first, count);
    }
    args.first = setup.layout.global_index(step.subject) + step.range.first + first;
    args.weight_decay = weight_decay;
    bound.updates.push_back(args);
  };
  const std::vector<shard::Segment> segments = setup.layout.segments(step.subject, step.range);
  if (segments.empty()) add(0, step.range.count, 0);
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const model::ParamSpec& param = spec_.params[segments[i].param];
    const bool matrix =  // an adapter of rank 1 too
        (param.shape.rows > 1 && param.shape.cols > 1) || model::is_adapter(param.name);
    const bool decays = optimizer.decay_all || matrix;
    const std::uint64_t first = i == 0 ? 0 : segments[i].in_range;
    const std::uint64_t end = i + 1 < segments.size() ? segments[i + 1].in_range : step.range.count;
    add(first, end - first, decays ? static_cast<float>(optimizer.weight_decay) : 0);
  }
}

}  // namespace sherd::engine
