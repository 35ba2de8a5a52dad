#include <fmt/format.h>

#include <algorithm>

#include "sherd/base/errors.hpp"
#include "sherd/data/sampler.hpp"
#include "sherd/io/file.hpp"
#include "sherd/kernels/matmul.hpp"
#include "sherd/launch/job.hpp"
#include "sherd/launch/machine.hpp"
#include "sherd/model/frozen.hpp"

namespace sherd::launch {
namespace {

DType compute_type(const optim::PrecisionConfig& precision) {
  switch (precision.precision) {
    case optim::Precision::fp32:
      return DType::f32;
    case optim::Precision::bf16:
      return DType::bf16;
    case optim::Precision::fp16:
      return DType::f16;
  }
  return DType::f32;
}

std::uint64_t total_steps(const Validated& run, const Job& job) {
  if (run->batch.steps > 0 || run->batch.epochs == 0 || !job.train)
    return static_cast<std::uint64_t>(std::max<std::int64_t>(run->batch.steps, 0));
  const data::Sampler sampler(job.train->samples(),
                              static_cast<std::uint64_t>(run->batch.global_batch), run->model.seed);
  return sampler.steps_per_epoch() * static_cast<std::uint64_t>(run->batch.epochs);
}

// Are there lanes beside compute?
bool moves_state(const RunConfig& run) {
  return plan::offloads_state(run.memory) ||
         run.memory.offload_activations != plan::OffloadActivations::none;
}

// NCCL's sums depend on the world and on what is sent at once.
std::string backend_of(const Validated& run, const plan::Setup& setup) {
  if (run->ranks.backend != comm::Backend::nccl || setup.world() == 1) return {};
  return fmt::format("nccl over {} buckets of {}\n", setup.layout.buckets().size(),
                     run->sharding.bucket_bytes);
}

// All that may change a bit, as text; its hash is the key. Stage, buckets, overlap, prefetch,
// recompute and threads are absent because they change none.
std::string numerics_text(const Validated& run, const Job& job, const plan::Setup& setup) {
  const optim::PrecisionConfig& p = run->precision;
  optim::OptimizerConfig o = run->optimizer;
  if (o.optimizer != optim::Kind::adamw) o.eps = 0;  // read by AdamW alone
  if (o.optimizer == optim::Kind::sgd) o.beta2 = 0;
  const bool canonical = run->sharding.reduce_order == plan::ReduceOrder::canonical;
  std::string network = job.description;
  for (const model::ParamSpec& param : setup.model.params) {
    network += fmt::format(" {}[{},{}]~{},{}", param.name, param.shape.rows, param.shape.cols,
                           param.init.mean, param.init.stddev);
    if (!param.trainable) network += " frozen";
  }
  const std::int64_t leaves = run->batch.grad_accum * setup.world();
  std::string text =
      fmt::format("model {} seed {} dropout {} data {:016x} length {}\n", network, run->model.seed,
                  run->model.dropout, job.train ? job.train->fingerprint() : 0, job.length);
  text += fmt::format(
      "micro {} leaves {} world {} order {} reduce {}\n", run->batch.micro_batch, leaves,
      canonical ? 0 : setup.world(), canonical ? "canonical" : "fast",
      canonical || (leaves > setup.world() && setup.reduce_every_micro) ? "micro" : "step");
  text += backend_of(run, setup);
  if (p.moments != optim::Moments::fp32)
    text += fmt::format("moments {}\n", static_cast<int>(p.moments));
  if (p.frozen_dtype == optim::FrozenDType::int8) text += "frozen int8\n";
  text += fmt::format("precision {} grad {} scale {} {} {} {} {}\n", static_cast<int>(p.precision),
                      static_cast<int>(p.grad_dtype), p.loss_scale, p.loss_scale_init,
                      p.loss_scale_window, p.loss_scale_hysteresis, p.loss_scale_min);
  text += fmt::format("optimizer {} {} {} {} {} {} {} {} {} {} {}\n", static_cast<int>(o.optimizer),
                      o.lr, o.beta1, o.beta2, o.eps, o.weight_decay, o.decay_all, o.clip_grad_norm,
                      static_cast<int>(o.schedule), o.warmup_steps, o.min_lr_ratio);
  if (o.schedule != optim::Schedule::constant)
    text += fmt::format("steps {}\n", total_steps(run, job));
  return text + fmt::format("path {}\n", path_of(run, setup.model.target.compute));
}

std::string key_of(const std::string& text) {
  const std::uint64_t one = mix(hash_name(text));
  return fmt::format("{:016x}{:016x}", one, mix(one ^ hash_name(text + "2")));
}

void check_sequences(const Job& job, int world) {
  if (!job.train) return;
  if (job.train->samples() < static_cast<std::uint64_t>(world)) {
    throw ConfigError(
        {fmt::format("--ranks: got {}, but the data holds only {} sequences of length {}; need at "
                     "least one a rank",
                     world, job.train->samples(), job.length)});
  }
}

// Sizes are 64-bit numbers of bytes; a network that comes near is a mistake, not a plan.
void require_countable(const model::ModelSpec& spec) {
  double bytes = 0;
  const auto count = [&](Shape shape) {
    bytes += 16.0 * static_cast<double>(shape.rows) * static_cast<double>(shape.cols);
  };
  for (const model::ParamSpec& param : spec.params) count(param.shape);
  for (const model::BlockSpec& block : spec.blocks) {
    count(block.out);
    for (const model::SaveSpec& save : block.saves) count(save.shape);
  }
  if (bytes < 0x1p56) return;
  throw ConfigError(
      {fmt::format("the network asks for about {:.1e} bytes, more than any machine "
                   "has; check its sizes, --micro-batch and --seq-len",
                   bytes)});
}

void require_trainable(const RunConfig& run, const model::ModelSpec& spec) {
  for (const std::string& pattern : run.model.freeze) {
    const auto frozen = model::frozen_by({pattern});
    if (std::ranges::none_of(spec.params, frozen, &model::ParamSpec::name))
      throw ConfigError(
          {fmt::format("--freeze: '{}' names no parameter; there are {}, ..., {}",
                       io::printable(pattern), spec.params.front().name, spec.params.back().name)});
  }
  if (spec.trainable() == 0)
    throw ConfigError({"--freeze: names every parameter; nothing is left to train"});
  const bool packs = run.precision.frozen_dtype == optim::FrozenDType::int8;
  if (packs && spec.trainable() == spec.parameters())
    throw ConfigError(
        {"--frozen-dtype: int8 needs parameters that are not trained (--freeze, --lora-rank)"});
}

std::uint32_t eval_batches(const Validated& run, const Job& job, int world) {
  if (!job.validate) return 0;
  const std::uint64_t all =
      ceil_div(job.validate->samples(), static_cast<std::uint64_t>(run->batch.micro_batch * world));
  const auto asked = static_cast<std::uint64_t>(run->batch.eval_batches);
  return static_cast<std::uint32_t>(asked == 0 ? all : std::min(asked, all));
}

}  // namespace

std::string path_of(const Validated& run, DType compute) {
  if (!run.on_device()) return std::string(kernels::matmul_path(compute));
  const Devices& devices = run.devices();
  if (devices.count == 0) return "cuda, on a device that is not here";
  return fmt::format("{}, {}", devices.name,
                     compute == DType::f32 ? devices.path_f32 : devices.path_16);
}

std::string numerics_key(const Prepared& prepared, std::uint64_t weights) {
  return key_of(fmt::format("{} weights {:016x}", prepared.policy_key, weights));
}

std::unique_ptr<model::Weights> first_weights(const Validated& run, const Job& job,
                                              const model::ModelSpec& spec) {
  return job.weights ? job.weights(spec) : model::random_weights(run->model.seed);
}

Prepared prepare(const Validated& run, const Job& job, Rank rank) {
  const int world = run->ranks.ranks;
  check_sequences(job, world);
  Prepared prepared{
      plan::Plan{plan::Setup{{}, shard::Layout({}, 1, 1)}, {}, std::nullopt, std::nullopt, {}, 0}};
  const int cores_a_rank = std::max(1, usable_cores() / world);
  prepared.threads = run->ranks.threads > 0 ? run->ranks.threads : cores_a_rank;
  // A device's lanes cost no core.
  const bool moves = world > 1 || moves_state(*run);
  const bool worth_it = moves && (run.on_device() || cores_a_rank >= 2);
  prepared.overlap = run->sharding.overlap == plan::Overlap::on ||
                     (run->sharding.overlap == plan::Overlap::automatic && worth_it);
  plan::ShardingConfig sharding = run->sharding;
  sharding.overlap = prepared.overlap ? plan::Overlap::on : plan::Overlap::off;
  const DeviceKind kind = run.on_device() ? DeviceKind::cuda : DeviceKind::cpu;
  const Target target{kind, compute_type(run->precision), prepared.threads};
  model::ModelSpec spec = model::declare(job.model, target, {run->batch.micro_batch, job.length});
  require_countable(spec);
  require_trainable(*run, spec);
  plan::Setup setup = plan::make_setup(std::move(spec), sharding, run->memory, run->precision,
                                       run->optimizer, world);
  setup.rank = rank;
  setup.grad_accum = static_cast<std::uint32_t>(run->batch.grad_accum);
  setup.sample = job.sample;
  setup.eval_batches = eval_batches(run, job, world);
  setup.saves = !run->checkpoint.save.empty();
  setup.snapshot_bytes = run->checkpoint.save_memory;
  prepared.policy_key = key_of(numerics_text(run, job, setup));
  prepared.steps = total_steps(run, job);
  prepared.plan = plan::make_plan(std::move(setup));
  return prepared;
}

}  // namespace sherd::launch
