#include "sherd/engine/generator.hpp"

#include <algorithm>

#include "sherd/base/errors.hpp"

namespace sherd::engine {
namespace {

/// Views one behind the other; without a base it only counts.
struct Room {
  std::byte* base = nullptr;
  Bytes used = 0;

  View take(Shape shape, DType type) {
    const Bytes at = round_up(used, 64);
    used = at + static_cast<Bytes>(shape.numel()) * size_of(type);
    return {base == nullptr ? nullptr : base + at, shape, type};
  }
  View take(Bytes bytes) { return take({1, static_cast<std::int64_t>(bytes)}, DType::u8); }
};

Target target_of(const GeneratorConfig& c) { return {DeviceKind::cpu, c.compute, c.threads}; }

/// The network for `rows` rows at a time; its head is for one.
model::ModelSpec declared(const Model& model, const GeneratorConfig& c, std::int64_t rows) {
  model::ModelSpec spec = model::declare(model, target_of(c), {1, rows});
  if (rows > 1) spec.blocks.back() = model::declare(model, target_of(c), {1, 1}).blocks.back();
  return spec;
}

ExtendNeeds needs_of(const Model& model, std::size_t block, const ExtendShape& shape) {
  const Model::Entry& entry = model.blocks[block];
  const std::optional<ExtendNeeds> needs = entry.block->extend_needs(shape);
  expects(needs.has_value(), "generate: the network's block " + entry.name + " cannot generate");
  return *needs;
}

std::vector<View> lay_out_params(const model::ModelSpec& spec, Room& room) {
  std::vector<View> views;
  for (const model::ParamSpec& param : spec.params)
    views.push_back(room.take(param.shape, spec.target.compute));
  return views;
}

std::vector<View> lay_out_caches(const Model& model, const GeneratorConfig& c, Room& room) {
  std::vector<View> views;
  for (std::size_t i = 0; i < model.blocks.size(); ++i)
    views.push_back(room.take(needs_of(model, i, {target_of(c), {1, 1}, c.capacity}).cache));
  return views;
}

void check(const Model& model, const GeneratorConfig& c) {
  expects(c.capacity > 0 && c.prompt_rows > 0 && c.threads > 0 && c.vocab_size > 0,
          "Generator: got an empty size, need positive ones");
  // A block that knows positions refuses a sequence longer than its context.
  (void)model::declare(model, target_of(c), {1, c.capacity});
}

}  // namespace

/// Where each block's views lie for so many rows at a time: what one block saves and its scratch
/// are gone when the next one runs.
struct Generator::Pass {
  struct Step {
    View in, out, scratch;
    std::vector<View> params, saves;
  };
  Batch batch;
  View logits;
  std::vector<Step> steps;  // the head last
  Bytes used = 0;

  Pass(const Model& model, const GeneratorConfig& c, const model::ModelSpec& spec, Room room) {
    const Bytes start = room.used;
    Bytes widest = 0;
    for (const model::BlockSpec& block : spec.blocks)
      widest = std::max(widest, bytes_of(c.compute, static_cast<std::uint64_t>(block.out.numel())));
    batch.inputs = room.take(spec.rows, DType::i32);
    logits = room.take({1, c.vocab_size}, DType::f32);
    const View turns[] = {room.take(widest), room.take(widest)};
    Bytes end = room.used;
    View in;
    for (std::size_t i = 0; i < spec.blocks.size(); ++i) {
      const model::BlockSpec& block = spec.blocks[i];
      const bool head = i + 1 == spec.blocks.size();
      Room own = room;
      Step step;
      step.in = head ? in.rows(in.shape.rows - 1, 1) : in;
      step.out = head ? logits : View{turns[i % 2].data, block.out, c.compute};
      for (const model::SaveSpec& save : block.saves)
        step.saves.push_back(own.take(save.shape, save.type));
      const Bytes more =
          head ? 0 : needs_of(model, i, {target_of(c), spec.rows, c.capacity}).scratch;
      step.scratch = own.take(std::max(block.scratch_forward, more));
      end = std::max(end, own.used);
      in = step.out;
      steps.push_back(std::move(step));
    }
    used = round_up(end, 64) - start;
  }
};

GeneratorMemory Generator::plan(const Model& model, const GeneratorConfig& c) {
  check(model, c);
  const auto work = [&](std::int64_t rows) {
    return Pass(model, c, declared(model, c, rows), {}).used;
  };
  Room weights, caches;
  (void)lay_out_params(declared(model, c, 1), weights);
  (void)lay_out_caches(model, c, caches);
  return {round_up(weights.used, 64), round_up(caches.used, 64),
          std::max(work(1), work(std::min(c.prompt_rows, c.capacity)))};
}

Generator::Generator(const Model& model, const GeneratorConfig& config)
    : model_(model),
      config_(config),
      memory_(plan(model, config)),
      spec_(declared(model, config, 1)),
      arena_(memory::Arena::anonymous(memory_.total())),
      stream_(config.threads) {
  Room room{arena_.bytes().data()};
  params_ = lay_out_params(spec_, room);
  room.used = memory_.weights;
  caches_ = lay_out_caches(model_, config_, room);
  row_ = bound(1);
}

Generator::~Generator() = default;

std::unique_ptr<Generator::Pass> Generator::bound(std::int64_t rows) const {
  const model::ModelSpec spec = rows == 1 ? spec_ : declared(model_, config_, rows);
  auto pass = std::make_unique<Pass>(model_, config_, spec,
                                     Room{arena_.bytes().data(), memory_.weights + memory_.cache});
  expects(pass->used <= memory_.work, "Generator: a short pass needs more than a long one");
  for (std::size_t i = 0; i < pass->steps.size(); ++i)
    for (const std::size_t param : spec.blocks[i].params)
      pass->steps[i].params.push_back(params_[param]);
  return pass;
}

void Generator::load(const model::Weights& weights) {
  constexpr std::uint64_t portion = 1 << 18;
  struct Piece {
    std::size_t param;
    std::uint64_t first, count;
  };
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < params_.size(); ++i) {
    const auto numel = static_cast<std::uint64_t>(params_[i].numel());
    for (std::uint64_t first = 0; first < numel; first += portion)
      pieces.push_back({i, first, std::min(portion, numel - first)});
  }
  stream_.workers().run(std::ssize(pieces), [&](std::int64_t index, int) {
    const auto& [param, first, count] = pieces[static_cast<std::size_t>(index)];
    const View& to = params_[param];
    if (to.type == DType::f32)
      return weights.read(spec_.params[param], first, to.span<float>().subspan(first, count));
    std::vector<float> wide(count);
    weights.read(spec_.params[param], first, wide);
    for (std::uint64_t i = 0; i < count; ++i) {
      if (to.type == DType::bf16) to.as<bfloat16>()[first + i] = to_bfloat16(wide[i]);
      if (to.type == DType::f16) to.as<float16>()[first + i] = to_float16(wide[i]);
    }
  });
}

void Generator::run(Pass& pass, std::span<const std::int32_t> tokens) {
  std::ranges::copy(tokens, pass.batch.inputs.as<std::int32_t>());
  for (std::size_t i = 0; i < model_.blocks.size(); ++i) {
    Pass::Step& s = pass.steps[i];
    const Forward rows{stream_, pass.batch, {}, s.in, s.out, s.scratch, s.params, s.saves, false};
    model_.blocks[i].block->extend({rows, caches_[i], position_, config_.capacity});
  }
  position_ += std::ssize(tokens);
}

std::span<const float> Generator::finish(Pass& pass) {
  Pass::Step& s = pass.steps.back();
  model_.head->logits({stream_, pass.batch, {}, s.in, s.out, s.scratch, s.params, s.saves, false});
  return pass.logits.span<const float>();
}

std::span<const float> Generator::extend(std::span<const std::int32_t> tokens) {
  expects(!tokens.empty() && std::ssize(tokens) <= config_.capacity - position_,
          "Generator: got " + std::to_string(tokens.size()) + " tokens, need 1 to " +
              std::to_string(config_.capacity - position_));
  while (tokens.size() > 1) {
    const std::size_t count =
        std::min(tokens.size(), static_cast<std::size_t>(config_.prompt_rows));
    const std::unique_ptr<Pass> pass = bound(static_cast<std::int64_t>(count));
    run(*pass, tokens.first(count));
    tokens = tokens.subspan(count);
    if (tokens.empty()) return finish(*pass);
  }
  run(*row_, tokens);
  return finish(*row_);
}

void Generator::rewind(std::int64_t position) {
  expects(position >= 0 && position <= position_, "Generator: got a position not reached yet");
  position_ = position;
}

}  // namespace sherd::engine
