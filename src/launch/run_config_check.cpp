#include <cmath>
#include <initializer_list>
#include <limits>
#include <optional>

#include "sherd/base/errors.hpp"
#include "sherd/launch/devices.hpp"
#include "sherd/launch/field.hpp"
#include "sherd/shard/layout.hpp"

namespace sherd::launch {
namespace {

using Problems = std::vector<std::string>;

bool inside(const Range& range, double value) {
  const bool above = range.low_open ? value > range.low : value >= range.low;
  const bool below = range.high_open ? value < range.high : value <= range.high;
  return above && below && std::isfinite(value);  // NaN fails both comparisons
}

/// The number in a slot as text, empty when it lies in the field's range or is no number.
struct Outlier {
  const Field& field;
  std::string operator()(const int* value) const { return of(*value, std::to_string(*value)); }
  std::string operator()(const std::int64_t* value) const {
    return of(static_cast<double>(*value), std::to_string(*value));
  }
  std::string operator()(const std::uint64_t* value) const {
    return of(static_cast<double>(*value), std::to_string(*value));
  }
  std::string operator()(const double* value) const { return of(*value, shortest(*value)); }
  std::string operator()(const Choice& choice) const {
    return *choice.index < choice.names.size() ? "" : std::to_string(*choice.index);
  }
  std::string operator()(const void*) const { return ""; }

 private:
  std::string of(double value, std::string text) const {
    return inside(field.range, value) ? "" : text;
  }
};

void check_ranges(RunConfig config, Problems& problems) {
  for (const Field& field : describe(config)) {
    const std::string outlier = std::visit(Outlier{field}, field.slot);
    if (!outlier.empty())
      problems.push_back(flag_of(field.key) + ": got " + outlier + ", need " + allowed(field));
  }
}

void check_model(const model::ModelConfig& c, const data::DataConfig& d, Problems& problems) {
  if (c.model.empty()) problems.push_back("--model: got nothing, need a preset or a folder");
  if (c.context > 0 && d.seq_len > c.context)
    problems.push_back("--seq-len: got " + std::to_string(d.seq_len) + ", need at most --context " +
                       std::to_string(c.context));
  if (d.tokenizer.empty()) problems.push_back("--tokenizer: got nothing, need bytes or a file");
}

void check_batch(const RunConfig& c, Purpose purpose, Problems& problems) {
  const data::BatchConfig& batch = c.batch;
  if (batch.steps > 0 && batch.epochs > 0)
    problems.push_back("--steps: excludes --epochs; give one of them");
  if (batch.steps == 0 && batch.epochs == 0 && purpose == Purpose::train)
    problems.push_back("--steps: needed to train (or give --epochs)");
  if (c.data.val_data.empty()) {
    if (batch.eval_every != 0) problems.push_back("--eval-every: needs --val-data");
    if (batch.eval_batches != 0) problems.push_back("--eval-batches: needs --val-data");
  }
  constexpr std::int64_t most = 1 << 20;  // as in the description: products cannot overflow
  const bool sensible = batch.micro_batch >= 0 && batch.micro_batch <= most &&
                        batch.grad_accum >= 0 && batch.grad_accum <= most &&
                        batch.global_batch >= 0 && c.ranks.ranks >= 1 && c.ranks.ranks <= 64;
  if (!sensible) return;  // the ranges have said so already
  const std::string problem = resolve_batch(batch, c.ranks.ranks).problem;
  if (!problem.empty()) problems.push_back(problem);
}

void check_ranks(const RunConfig& c, Problems& problems) {
  const std::optional<DeviceChoice> device = parse_device(c.ranks.device);
  if (!device) {
    problems.push_back(device_problem(c.ranks.device, {}));
    return;
  }
  if (c.ranks.backend != comm::Backend::nccl) return;
  if (device->kind == DeviceKind::cpu) problems.push_back("--backend: nccl needs --device cuda");
  if (device->index && c.ranks.ranks > 1)
    problems.push_back("--backend: nccl needs a device for each rank, so --device has no index");
  if (c.sharding.reduce_order == plan::ReduceOrder::canonical)
    problems.push_back("--backend: nccl excludes --reduce-order canonical, whose order is ours");
  if (c.precision.grad_dtype == optim::GradDType::bf16)
    problems.push_back("--backend: nccl excludes --grad-dtype bf16, whose rounding is ours");
}

void check_sharding(const RunConfig& c, Problems& problems) {
  if (c.sharding.reduce_order != plan::ReduceOrder::canonical) return;
  if (c.sharding.reduce_every == plan::ReduceEvery::step)
    problems.push_back("--reduce-order: canonical excludes --reduce-every step");
  if (c.precision.grad_dtype == optim::GradDType::bf16)
    problems.push_back("--reduce-order: canonical excludes --grad-dtype bf16");
}

void check_loss_scale(const optim::PrecisionConfig& c, Problems& problems) {
  const optim::PrecisionConfig usual;
  const bool dynamic = c.loss_scale == 0;
  struct Given {
    const char* flag;
    bool differs;
  };
  const std::initializer_list<Given> scaler = {
      {"--loss-scale-init", c.loss_scale_init != usual.loss_scale_init},
      {"--loss-scale-window", c.loss_scale_window != usual.loss_scale_window},
      {"--loss-scale-hysteresis", c.loss_scale_hysteresis != usual.loss_scale_hysteresis},
      {"--loss-scale-min", c.loss_scale_min != usual.loss_scale_min}};
  if (c.precision != optim::Precision::fp16) {
    if (!dynamic) problems.push_back("--loss-scale: needs --precision fp16");
    for (const Given& given : scaler)
      if (given.differs) problems.push_back(std::string(given.flag) + ": needs --precision fp16");
    return;
  }
  if (!dynamic)
    for (const Given& given : scaler)
      if (given.differs)
        problems.push_back(std::string(given.flag) + ": needs --loss-scale dynamic");
  if (dynamic && c.loss_scale_init < c.loss_scale_min)
    problems.push_back("--loss-scale-init: got " + shortest(c.loss_scale_init) +
                       ", need at least --loss-scale-min " + shortest(c.loss_scale_min));
}

// Kernels read these as fp32: a number it cannot hold would become another one.
void check_fp32(const RunConfig& c, Problems& problems) {
  const auto say = [&](const char* flag, double value) {
    problems.push_back(std::string(flag) + ": got " + shortest(value) + ", which fp32 cannot hold");
  };
  constexpr double least = std::numeric_limits<float>::min(), most = 0x1p100;
  const optim::OptimizerConfig& o = c.optimizer;
  if (o.lr > std::numeric_limits<float>::max()) say("--lr", o.lr);
  if (o.eps > 0 && (o.eps < least || o.eps > most)) say("--eps", o.eps);
  for (const auto& [flag, beta] : {std::pair{"--beta1", o.beta1}, {"--beta2", o.beta2}}) {
    if (beta < 1 && static_cast<float>(beta) >= 1) say(flag, beta);
  }
  const optim::PrecisionConfig& p = c.precision;
  for (const auto& [flag, scale] : {std::pair{"--loss-scale", p.loss_scale},
                                    {"--loss-scale-init", p.loss_scale_init},
                                    {"--loss-scale-min", p.loss_scale_min}}) {
    if (scale > 0 && (scale < least || scale > most)) say(flag, scale);
  }
}

bool offloads(plan::Offload place) { return place != plan::Offload::none; }
bool offloads(plan::OffloadOr place) {
  return place == plan::OffloadOr::host || place == plan::OffloadOr::file;
}

void check_states(const RunConfig& c, Problems& problems) {
  const optim::PrecisionConfig& p = c.precision;
  if (p.master == optim::Master::split && p.precision != optim::Precision::bf16)
    problems.push_back("--master: split needs --precision bf16");
  const bool keeps_moments = c.optimizer.optimizer != optim::Kind::sgd || c.optimizer.beta1 > 0;
  if (p.moments != optim::Moments::fp32 && !keeps_moments)
    problems.push_back("--moments: sgd without --beta1 keeps none");
  if (offloads(c.memory.offload_master) && p.precision == optim::Precision::fp32)
    problems.push_back(
        "--offload-master: needs --precision bf16 or fp16; in fp32 the parameters are the master "
        "weights (--offload-params)");
}

void check_offload(const RunConfig& c, Problems& problems) {
  const plan::MemoryConfig& m = c.memory;
  const plan::MemoryConfig usual;
  const bool state =
      offloads(m.offload_optimizer) || offloads(m.offload_master) || offloads(m.offload_moments);
  const bool any = plan::offloads_state(m), file = plan::offloads_to_files(m);
  if (m.offload_fraction != usual.offload_fraction && !any && !m.fit)
    problems.push_back("--offload-fraction: needs a state that is offloaded");
  if (m.offload_tile % static_cast<std::int64_t>(shard::quantum) != 0)
    problems.push_back("--offload-tile: got " + std::to_string(m.offload_tile) +
                       ", need a multiple of " + std::to_string(shard::quantum));
  if (m.update_on == plan::UpdateOn::host && !state && !offloads(m.offload_params) && !m.fit)
    problems.push_back("--update-on: host needs an optimizer state that is offloaded");
  const io::FileTierConfig& f = c.file_tier;
  if (file && f.offload_dir.empty())
    problems.push_back("--offload-dir: needed for what is offloaded to files");
  if (file || m.fit) return;
  const auto useless = [&](const char* flag) {
    problems.push_back(std::string(flag) + ": needs a state that is offloaded to files");
  };
  if (!f.offload_dir.empty()) useless("--offload-dir");
  if (f.offload_dir_any) useless("--offload-dir-any");
  if (f.io_engine != io::IoEngine::automatic) useless("--io-engine");
  if (f.file_limit != 0) useless("--file-limit");
}

void check_checkpoint(const checkpoint::CheckpointConfig& c, Problems& problems) {
  const checkpoint::CheckpointConfig usual;
  if (!checkpoint::parse_save_every(c.save_every))
    problems.push_back("--save-every: got '" + c.save_every + "', need a number of steps or auto");
  if (c.failures_per_day != usual.failures_per_day && c.save_every != "auto")
    problems.push_back("--failures-per-day: needs --save-every auto");
  if (c.resume.empty())
    problems.push_back("--resume: got nothing, need a checkpoint's folder, latest or none");
  if (!c.save.empty()) return;
  const auto useless = [&](const char* flag) {
    problems.push_back(std::string(flag) + ": needs --save");
  };
  if (c.save_every != usual.save_every) useless("--save-every");
  if (c.keep != usual.keep) useless("--keep");
  if (c.save_memory != usual.save_memory) useless("--save-memory");
  if (c.resume == "latest") useless("--resume latest");
}

std::string equation(std::int64_t global, std::int64_t micro, std::int64_t accum, int world) {
  const auto term = [](std::int64_t value, const char* flag) {
    return std::string(flag) + " " + (value > 0 ? std::to_string(value) : "?");
  };
  return term(global, "--global-batch") + " = " + term(micro, "--micro-batch") + " x " +
         term(accum, "--grad-accum") + " x " + std::to_string(world) + " ranks";
}

}  // namespace

ResolvedBatch resolve_batch(const data::BatchConfig& batch, int world) {
  expects(world >= 1, "resolve_batch: got no ranks, need at least 1");
  ResolvedBatch made{batch, {}};
  std::int64_t& micro = made.batch.micro_batch;
  std::int64_t& accum = made.batch.grad_accum;
  std::int64_t& global = made.batch.global_batch;
  if (global == 0) {
    if (micro == 0) micro = 8;
    if (accum == 0) accum = 1;
    global = micro * accum * world;
    return made;
  }
  // Both left out: one micro-step, as large as it takes.
  if (micro == 0 && accum == 0) accum = 1;
  if (micro == 0) micro = global / (accum * world);
  if (accum == 0) accum = global / (micro * world);
  if (micro * accum * world != global)
    made.problem =
        "--global-batch: " + equation(global, batch.micro_batch, batch.grad_accum, world) +
        " does not hold" +
        (batch.micro_batch > 0 && batch.grad_accum > 0
             ? ": the right side is " + std::to_string(micro * accum * world)
             : " for any whole number");
  return made;
}

std::vector<std::string> check(const RunConfig& config, Purpose purpose) {
  Problems problems;
  check_ranges(config, problems);
  check_model(config.model, config.data, problems);
  check_batch(config, purpose, problems);
  check_ranks(config, problems);
  check_sharding(config, problems);
  check_loss_scale(config.precision, problems);
  check_fp32(config, problems);
  check_states(config, problems);
  check_checkpoint(config.checkpoint, problems);
  check_offload(config, problems);
  return problems;
}
}  // namespace sherd::launch
