#pragma once
// Models that only declare: an embedding, layers of two blocks, and a head that may share the
// embedding's table. Plans are made from them, nothing is ever computed.
#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "sherd/base/errors.hpp"
#include "sherd/base/philox.hpp"
#include "sherd/model/frozen.hpp"
#include "sherd/model/spec.hpp"
#include "sherd/plan/plan.hpp"

namespace sherd::toy {

struct Parameter {
  std::string name;
  Shape shape;
};
struct Save {
  std::string name;
  std::int64_t cols;
  Keep keep;
};
/// What a toy block declares; saves have one row a token.
struct Declaration {
  std::vector<Parameter> params;
  std::vector<Save> saves;
  bool reads_input = true, backward_reads_params = true;
  Bytes scratch_forward = 0, scratch_backward = 0;
};

class Block final : public sherd::Block {
 public:
  Block(Declaration what, std::int64_t width) : what_(std::move(what)), width_(width) {}
  void declare(Declare& d) const override {
    const std::int64_t tokens = d.rows().numel();
    if (what_.reads_input) d.input({tokens, width_});
    d.output({tokens, width_});
    for (const Parameter& p : what_.params) d.param(p.name, p.shape, {0, 1});
    if (!what_.backward_reads_params) d.backward_reads({});
    for (const Save& s : what_.saves) d.save(s.name, {tokens, s.cols}, d.target().compute, s.keep);
    if (what_.reads_input) d.save_input();
    d.scratch(what_.scratch_forward, what_.scratch_backward);
  }
  void forward(const Forward&) override { throw_usage("toy: never computes"); }
  void backward(const Backward&) override { throw_usage("toy: never computes"); }

 private:
  Declaration what_;
  std::int64_t width_;
};

class Head final : public sherd::Head {
 public:
  Head(bool tied, std::int64_t vocab, std::int64_t width)
      : tied_(tied), vocab_(vocab), width_(width) {}
  void declare(Declare& d) const override {
    d.input({d.rows().numel(), width_});
    d.param("norm", {1, width_}, {1, 0});
    if (tied_) {
      d.tied("embed", "wte");
    } else {
      d.param("table", {vocab_, width_}, {0, 1});
    }
    d.scratch(1024, 3000);
  }
  void loss(const LossCall&) override { throw_usage("toy: never computes"); }
  void logits(const Forward&) override { throw_usage("toy: never computes"); }

 private:
  bool tied_;
  std::int64_t vocab_, width_;
};

/// Sizes are odd on purpose where a plan may round: 100 tokens of 32, a table of 65 rows.
inline Model network(int layers, bool tied) {
  constexpr std::int64_t width = 32, vocab = 65;
  Model model;
  model.add<Block>("embed",
                   Declaration{{{"wte", {vocab, width}}, {"wpe", {8, width}}}, {}, false, false},
                   width);
  for (int i = 0; i < layers; ++i) {
    const std::string layer = "layer" + std::to_string(i);
    model.add<Block>(layer + ".attention",
                     Declaration{{{"qkv", {width, 3 * width}}, {"out", {width, width}}},
                                 {{"qkv", 3 * width, Keep::always}, {"norm", width, Keep::cheap}},
                                 true,
                                 true,
                                 1000,
                                 2000},
                     width);
    model.add<Block>(layer + ".mlp",
                     Declaration{{{"up", {width, 4 * width}}, {"down", {4 * width, width}}},
                                 {{"up", 4 * width, Keep::always}, {"act", 4 * width, Keep::cheap}},
                                 true,
                                 true,
                                 0,
                                 5000},
                     width);
  }
  model.end<Head>(tied, vocab, width);
  return model;
}

/// A run to be planned. With these buckets: the embedding, each layer, and an untied head.
struct Case {
  int layers = 2;
  bool tied = true;
  int world = 2, stage = 0;
  std::uint32_t accum = 1;
  plan::ReduceEvery reduce = plan::ReduceEvery::step;
  plan::Recompute recompute = plan::Recompute::none;
  int prefetch = 1;
  bool overlap = true;
  optim::Precision precision = optim::Precision::fp32;
  optim::GradDType grad = optim::GradDType::fp32;
  optim::Kind optimizer = optim::Kind::adamw;
  std::uint32_t eval_batches = 0;
  Bytes bucket_bytes = 4096;
  plan::MemoryConfig memory{};  // where states live; recompute is above
  optim::Master master = optim::Master::fp32;
  optim::Moments moments = optim::Moments::fp32;
  std::vector<std::string> frozen{};  // patterns
  optim::FrozenDType frozen_dtype = optim::FrozenDType::param;
};

inline std::string describe(const Case& c) {
  return fmt::format(
      "layers {} tied {} world {} stage {} accum {} reduce {} recompute {} prefetch {} overlap {} "
      "precision {} grad {} optimizer {} master {}/{} moments {}/{} params {} grads {} activations "
      "{} "
      "fraction {} tile {} update {}",
      c.layers, c.tied, c.world, c.stage, c.accum, static_cast<int>(c.reduce),
      static_cast<int>(c.recompute), c.prefetch, c.overlap, static_cast<int>(c.precision),
      static_cast<int>(c.grad), static_cast<int>(c.optimizer), static_cast<int>(c.master),
      static_cast<int>(c.memory.offload_master), static_cast<int>(c.moments),
      static_cast<int>(c.memory.offload_moments), static_cast<int>(c.memory.offload_params),
      static_cast<int>(c.memory.offload_grads), static_cast<int>(c.memory.offload_activations),
      c.memory.offload_fraction, c.memory.offload_tile, static_cast<int>(c.memory.update_on));
}

inline plan::Setup setup(const Case& c) {
  plan::ShardingConfig sharding;
  sharding.zero_stage = c.stage;
  sharding.bucket_bytes = c.bucket_bytes;
  sharding.reduce_every = c.reduce;
  sharding.prefetch = c.prefetch;
  sharding.overlap = c.overlap ? plan::Overlap::on : plan::Overlap::off;
  plan::MemoryConfig memory = c.memory;
  memory.recompute = c.recompute;
  optim::PrecisionConfig precision;
  precision.precision = c.precision;
  precision.grad_dtype = c.grad;
  precision.master = c.master;
  precision.moments = c.moments;
  precision.frozen_dtype = c.frozen_dtype;
  optim::OptimizerConfig optimizer;
  optimizer.optimizer = c.optimizer;
  constexpr DType compute[] = {DType::f32, DType::bf16, DType::f16};
  const Target target{DeviceKind::cpu, compute[static_cast<std::size_t>(c.precision)], 1};
  Model model = network(c.layers, c.tied);
  model.frozen = model::frozen_by(c.frozen);
  plan::Setup setup = plan::make_setup(model::declare(model, target, {4, 25}), sharding, memory,
                                       precision, optimizer, c.world);
  setup.grad_accum = c.accum;
  setup.sample = {25, DType::i32, 25, DType::i32};
  setup.eval_batches = c.eval_batches;
  return setup;
}

/// Mixed-radix counting: takes the next digit of `number`.
inline std::size_t digit(std::size_t& number, std::size_t radix) {
  const std::size_t d = number % radix;
  number /= radix;
  return d;
}

inline constexpr std::size_t cases = 4 * 4 * 4 * 2 * 3 * 4 * 2 * 2;
/// The `number`-th of all combinations of world, stage, accumulation, reduce, recompute, prefetch,
/// window and tying; every third one has a second program.
inline Case numbered(std::size_t number) {
  Case c;
  c.eval_batches = number % 3 == 0 ? 1 + static_cast<std::uint32_t>(number % 5) : 0;
  c.world = 1 + static_cast<int>(digit(number, 4));
  c.stage = static_cast<int>(digit(number, 4));
  c.accum = std::vector<std::uint32_t>{1, 2, 3, 5}[digit(number, 4)];
  c.reduce = digit(number, 2) == 0 ? plan::ReduceEvery::step : plan::ReduceEvery::micro;
  c.recompute = static_cast<plan::Recompute>(digit(number, 3));
  c.prefetch = static_cast<int>(digit(number, 4));
  c.overlap = digit(number, 2) == 0;
  c.tied = digit(number, 2) == 0;
  return c;
}

/// The same with states somewhere else: a pseudo-random draw of every placement and format, so that
/// any two of them meet within a few hundred numbers.
inline Case offloaded(std::size_t number) {
  Case c = numbered((number * 2654435761u) % cases);
  std::size_t draw = mix(number);
  c.precision = static_cast<optim::Precision>(digit(draw, 3));
  const bool wide = c.precision == optim::Precision::fp32;
  c.grad = static_cast<optim::GradDType>(digit(draw, 2));
  if (c.precision == optim::Precision::bf16) c.master = static_cast<optim::Master>(digit(draw, 2));
  c.moments = static_cast<optim::Moments>(digit(draw, 3));
  c.optimizer = static_cast<optim::Kind>(digit(draw, 3));
  plan::MemoryConfig& m = c.memory;
  if (!wide) m.offload_master = static_cast<plan::OffloadOr>(1 + digit(draw, 3));
  m.offload_moments = static_cast<plan::OffloadOr>(1 + digit(draw, 3));
  m.offload_params = static_cast<plan::Offload>(digit(draw, 3));
  m.offload_grads = static_cast<plan::OffloadOr>(1 + digit(draw, 3));
  m.offload_activations = static_cast<plan::OffloadActivations>(digit(draw, 2));
  m.offload_fraction = std::vector<double>{0.3, 1, 1}[digit(draw, 3)];
  m.offload_tile = std::vector<std::int64_t>{256, 1280, 1 << 20}[digit(draw, 3)];
  m.update_on = static_cast<plan::UpdateOn>(digit(draw, 3));
  return c;
}

}  // namespace sherd::toy
