#include "bench/rig.hpp"

#include "sherd/model/presets.hpp"

namespace sherd::bench {
namespace {

constexpr std::uint64_t seed = 0;

launch::Validated validated(const RunShape& shape, const std::string& data) {
  launch::RunConfig config = config_of(shape);
  config.data.data = {data};
  config.batch.steps = 1 << 20;
  return launch::resolve(std::move(config));
}

}  // namespace

const char* name_of(optim::Precision precision) {
  switch (precision) {
    case optim::Precision::bf16:
      return "bf16";
    case optim::Precision::fp16:
      return "fp16";
    default:
      return "fp32";
  }
}

launch::RunConfig config_of(const RunShape& shape) {
  launch::RunConfig config;
  config.model.model = shape.model;
  config.model.seed = seed;
  config.data.seq_len = shape.seq_len;
  config.batch.micro_batch = shape.micro_batch;
  config.batch.grad_accum = shape.grad_accum;
  config.ranks.ranks = shape.ranks;
  config.ranks.threads = shape.threads;
  config.sharding.zero_stage = shape.zero_stage;
  config.precision.precision = shape.precision;
  return config;
}

std::vector<std::string> flags_of(const RunShape& shape, const std::string& data, int steps) {
  const auto text = [](auto number) { return std::to_string(number); };
  return {"--model",       shape.model,
          "--seed",        text(seed),
          "--data",        data,
          "--steps",       text(steps),
          "--seq-len",     text(shape.seq_len),
          "--micro-batch", text(shape.micro_batch),
          "--grad-accum",  text(shape.grad_accum),
          "--ranks",       text(shape.ranks),
          "--threads",     text(shape.threads),
          "--zero-stage",  text(shape.zero_stage),
          "--precision",   name_of(shape.precision)};
}

namespace {

/// A weight [in, out] that every layer has.
struct LayerWeight {
  std::int64_t in, out;
};
std::vector<LayerWeight> layer_weights(const model::Gpt2Config& c) {
  return {
      {c.width, 3 * c.width}, {c.width, c.width}, {c.width, c.ffn_width}, {c.ffn_width, c.width}};
}
std::vector<LayerWeight> layer_weights(const model::LlamaConfig& c) {
  return {{c.width, c.attention_width() + 2 * c.kv_width()},
          {c.attention_width(), c.width},
          {c.width, 2 * c.ffn_width},
          {c.ffn_width, c.width}};
}

}  // namespace

std::vector<GemmShape> products_of(const RunShape& shape) {
  const std::int64_t rows = shape.micro_batch * shape.seq_len;
  std::vector<GemmShape> all;
  const auto add = [&](const LayerWeight& w, std::int64_t times) {
    all.push_back({.m = rows, .n = w.out, .k = w.in, .times = times});
    all.push_back({.m = rows, .n = w.in, .k = w.out, .transpose_b = true, .times = times});
    all.push_back({.m = w.in, .n = w.out, .k = rows, .transpose_a = true, .times = times});
  };
  std::visit(
      [&](const auto& net) {
        for (const LayerWeight& weight : layer_weights(net)) add(weight, net.layers);
        add({net.width, net.vocab_size}, 1);
      },
      model::resolve(config_of(shape).model));
  return all;
}

Rig::Rig(const RunShape& shape, const std::string& data)
    : run_(validated(shape, data)),
      job_(launch::zoo_job(run_)),
      prepared_(launch::prepare(run_, job_, 0)),
      arena_(memory::Arena::anonymous(prepared_.plan.memory.arena[0])),
      control_(comm::ControlBlock::create(1)),
      comm_(comm::local({&*control_, 0, arena_.bytes(), nullptr, std::chrono::seconds(60)})) {
  engine::EngineParts parts{.model = job_.model,
                            .plan = prepared_.plan,
                            .arenas = {},
                            .comm = *comm_,
                            .abort = control_->abort,
                            .train = *job_.train};
  parts.arenas[0] = arena_.bytes();
  parts.precision = run_->precision;
  parts.optimizer = run_->optimizer;
  parts.seed = seed;
  parts.total_steps = prepared_.steps;
  parts.threads = prepared_.threads;
  parts.trace = &trace_;
  engine_ = std::make_unique<engine::Engine>(std::move(parts));
  engine_->initialise(*model::random_weights(seed));
}

}  // namespace sherd::bench
