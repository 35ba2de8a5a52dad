#include "sherd/launch/field.hpp"

#include <array>

#include "sherd/model/lora.hpp"

namespace sherd::launch {
namespace {

using Fields = std::vector<Field>;
using namespace std::string_view_literals;

constexpr std::array backends = {"auto"sv, "local"sv, "nccl"sv};
constexpr std::array reduce_everys = {"auto"sv, "step"sv, "micro"sv};
constexpr std::array overlaps = {"auto"sv, "on"sv, "off"sv};
constexpr std::array reduce_orders = {"fast"sv, "canonical"sv};
constexpr std::array precisions = {"fp32"sv, "bf16"sv, "fp16"sv};
constexpr std::array grad_dtypes = {"fp32"sv, "bf16"sv};
constexpr std::array masters = {"fp32"sv, "split"sv};
constexpr std::array moments = {"fp32"sv, "bf16"sv, "int8"sv};
constexpr std::array frozen_dtypes = {"param"sv, "int8"sv};
constexpr std::array offload_places = {"none"sv, "host"sv, "file"sv};
constexpr std::array offloads_or_auto = {"auto"sv, "none"sv, "host"sv, "file"sv};
constexpr std::array offloads_of_activations = {"none"sv, "host"sv};
constexpr std::array update_places = {"auto"sv, "device"sv, "host"sv};
constexpr std::array io_engines = {"auto"sv, "uring"sv, "threads"sv};
constexpr std::array optimizers = {"adamw"sv, "lion"sv, "sgd"sv};
constexpr std::array schedules = {"constant"sv, "cosine"sv, "linear"sv, "wsd"sv};
constexpr std::array recomputes = {"none"sv, "selective"sv, "block"sv};

/// `last` is the enum's last member: a name too few or too many does not compile.
template <auto last, std::size_t count>
Choice choice(decltype(last)& value, const std::array<std::string_view, count>& names) {
  static_assert(static_cast<std::size_t>(last) + 1 == count);
  return {reinterpret_cast<unsigned char*>(&value), names};  // unsigned char may alias anything
}

constexpr Range up_to(double high) { return {.low = 0, .high = high}; }
constexpr Range below_one = {.low = 0, .high = 1, .high_open = true};
constexpr Range positive = {.low = 0, .low_open = true};
constexpr Range size = {.low = 0, .high = 0x1p62}, some_size = {.low = 1, .high = 0x1p62};
constexpr double million = 1 << 20, dimension = 1 << 24;

// Which parameters are trained, and which stand beside them.
void add_trained(Fields& f, model::ModelConfig& c) {
  constexpr auto in = Concern::model;
  f.push_back({in, "lora_rank", "train low-rank adapters instead of the network; 0: none",
               &c.lora_rank, up_to(model::most_lora_rank)});
  f.push_back({in,
               "lora_alpha",
               "adapters count alpha / rank; 0: 16",
               &c.lora_alpha,
               {.low = 0, .high = 1e9}});
  f.push_back({in,
               "lora_targets",
               "products with an adapter, or all; none: q_proj and v_proj, of GPT-2 c_attn",
               &c.lora_targets,
               {},
               {},
               "NAME"});
  f.push_back({in,
               "lora_from",
               "start from adapters that PEFT wrote, which say rank, alpha and targets",
               &c.lora_from,
               {},
               {},
               "DIR"});
  f.push_back({in,
               "freeze",
               "parameters that are not trained; a * stands for any part of a name",
               &c.freeze,
               {},
               {},
               "NAME"});
}

void add_model(Fields& f, model::ModelConfig& c) {
  constexpr auto in = Concern::model;
  f.push_back(
      {in, "model", "preset, or a folder in Hugging Face layout", &c.model, {}, {}, "NAME|DIR"});
  f.push_back({in, "random_init", "start a folder's network from random weights", &c.random_init});
  f.push_back({in, "layers", "transformer layers; 0: as the preset says", &c.layers, up_to(1024)});
  f.push_back({in, "heads", "attention heads; 0: as the preset says", &c.heads, up_to(4096)});
  f.push_back(
      {in, "kv_heads", "key and value heads; 0: as the preset says", &c.kv_heads, up_to(4096)});
  f.push_back({in, "head_dim", "elements of a head; 0: as the preset says, or of the width",
               &c.head_dim, up_to(256)});
  f.push_back({in, "width", "elements of a token's vector; 0: as the preset says", &c.width,
               up_to(million)});
  f.push_back({in, "ffn_width", "elements inside the MLP; 0: as the preset says", &c.ffn_width,
               up_to(dimension)});
  f.push_back(
      {in, "vocab_size", "tokens there are; 0: as the preset says", &c.vocab_size, up_to(1 << 30)});
  f.push_back(
      {in, "context", "longest sequence; 0: as the preset says", &c.context, up_to(dimension)});
  f.push_back(
      {in, "dropout", "part of the activations dropped in training", &c.dropout, below_one});
  add_trained(f, c);
  f.push_back({in, "seed", "of initial weights, sample order, dropout and rounding", &c.seed});
}

void add_data(Fields& f, data::DataConfig& c) {
  constexpr auto in = Concern::data;
  f.push_back({in,
               "data",
               "text, .jsonl, .bin (llm.c), .npy, folders of them, or of sherd data tokenize",
               &c.data,
               {},
               {},
               "PATH"});
  f.push_back({in, "val_data", "the same, held out for evaluation", &c.val_data, {}, {}, "PATH"});
  f.push_back({in,
               "tokenizer",
               "how text becomes tokens: its bytes, or as a tokenizer.json says",
               &c.tokenizer,
               {},
               {},
               "bytes|FILE"});
  f.push_back(
      {in, "seq_len", "tokens a sample; 0: the model's context", &c.seq_len, up_to(dimension)});
}

void add_batch(Fields& f, data::BatchConfig& c) {
  constexpr auto in = Concern::batch;
  f.push_back({in, "micro_batch", "sequences per rank and micro-step; 0: from the others, else 8",
               &c.micro_batch, up_to(million)});
  f.push_back({in, "grad_accum", "micro-steps a step; 0: from the others, else 1", &c.grad_accum,
               up_to(million)});
  f.push_back({in, "global_batch", "sequences a step = micro x accum x ranks; 0: from the others",
               &c.global_batch, up_to(million * million)});
  f.push_back({in, "steps", "steps in all (or give --epochs)", &c.steps, up_to(1e15)});
  f.push_back({in, "epochs", "passes over the data, instead of --steps", &c.epochs, up_to(1e9)});
  f.push_back({in, "eval_every", "steps between evaluations; 0: only at the end", &c.eval_every,
               up_to(1e15)});
  f.push_back({in, "eval_batches", "micro-batches per rank and evaluation; 0: all of --val-data",
               &c.eval_batches, up_to(1e15)});
}

void add_ranks(Fields& f, comm::RanksConfig& c) {
  constexpr auto in = Concern::ranks;
  f.push_back({in, "ranks", "processes on this machine", &c.ranks, {.low = 1, .high = 64}});
  f.push_back({in, "backend", "how ranks talk; auto: nccl where every rank has a GPU of its own",
               choice<comm::Backend::nccl>(c.backend, backends)});
  f.push_back({in,
               "device",
               "where the ranks compute; auto: on a GPU if one works",
               &c.device,
               {},
               {},
               "auto|cpu|cuda[:INDEX]"});
  f.push_back(
      {in, "threads", "per rank; 0: cores this process may use / ranks", &c.threads, up_to(1024)});
  f.push_back({in, "pin_threads", "give each rank its share of the cores, each thread one of them",
               &c.pin_threads});
  f.push_back({in,
               "timeout",
               "longest a collective may take",
               &c.timeout,
               {.low = 0, .high = 86400, .low_open = true},
               Unit::seconds});
}

void add_sharding(Fields& f, plan::ShardingConfig& c) {
  constexpr auto in = Concern::sharding;
  f.push_back({in, "zero_stage",
               "what is split over ranks: 1 optimizer state, 2 also gradients, 3 also parameters",
               &c.zero_stage, up_to(3)});
  f.push_back({in, "bucket_bytes", "stored parameters before a bucket is closed", &c.bucket_bytes,
               some_size, Unit::bytes});
  f.push_back({in, "reduce_every",
               "when gradients are reduced; auto: step at stages 0, 1, else micro",
               choice<plan::ReduceEvery::micro>(c.reduce_every, reduce_everys)});
  f.push_back({in, "prefetch", "blocks a gather is issued ahead", &c.prefetch, up_to(64)});
  f.push_back({in, "overlap", "communicate while computing; auto: with two cores or more a rank",
               choice<plan::Overlap::off>(c.overlap, overlaps)});
  f.push_back({in, "reduce_order", "order of sums; canonical: the same bits on any number of ranks",
               choice<plan::ReduceOrder::canonical>(c.reduce_order, reduce_orders)});
}

void add_precision(Fields& f, optim::PrecisionConfig& c) {
  constexpr auto in = Concern::precision;
  f.push_back({in, "precision", "of stored parameters and activations",
               choice<optim::Precision::fp16>(c.precision, precisions)});
  f.push_back({in, "grad_dtype", "of gradients; bf16 rounds stochastically",
               choice<optim::GradDType::bf16>(c.grad_dtype, grad_dtypes)});
  f.push_back({in, "master",
               "master weights; split: a bf16 parameter and 16 bits beside it, the same result",
               choice<optim::Master::split>(c.master, masters)});
  f.push_back(
      {in, "moments",
       "format of the optimizer's moments; bf16: rounded stochastically; int8: blocks of 256",
       choice<optim::Moments::int8>(c.moments, moments)});
  f.push_back({in, "frozen_dtype",
               "of parameters that are not trained; int8: blocks of 256, widened while used",
               choice<optim::FrozenDType::int8>(c.frozen_dtype, frozen_dtypes)});
  f.push_back({in,
               "loss_scale",
               "fp16: a fixed scale instead of the dynamic one",
               &c.loss_scale,
               {},
               {},
               "dynamic|X",
               "dynamic"});
  f.push_back({in, "loss_scale_init", "fp16: first dynamic scale", &c.loss_scale_init, positive});
  f.push_back({in,
               "loss_scale_window",
               "fp16: good steps before the scale doubles",
               &c.loss_scale_window,
               {.low = 1, .high = 1e9}});
  f.push_back({in,
               "loss_scale_hysteresis",
               "fp16: overflows before the scale halves",
               &c.loss_scale_hysteresis,
               {.low = 1, .high = 1e9}});
  f.push_back({in, "loss_scale_min", "fp16: smallest dynamic scale", &c.loss_scale_min, positive});
}

void add_optimizer(Fields& f, optim::OptimizerConfig& c) {
  constexpr auto in = Concern::optimizer;
  f.push_back({in, "optimizer", "update rule (sgd has momentum beta1)",
               choice<optim::Kind::sgd>(c.optimizer, optimizers)});
  f.push_back({in, "lr", "learning rate", &c.lr});
  f.push_back({in, "beta1", "decay of the first moment", &c.beta1, below_one});
  f.push_back({in, "beta2", "decay of the second moment", &c.beta2, below_one});
  f.push_back({in, "eps", "added to the root of the second moment", &c.eps, positive});
  f.push_back(
      {in, "weight_decay", "decoupled, on tensors of two or more dimensions", &c.weight_decay});
  f.push_back({in, "decay_all", "weight decay on every tensor", &c.decay_all});
  f.push_back({in, "clip_grad_norm", "largest gradient norm; 0: off", &c.clip_grad_norm});
  f.push_back({in, "schedule", "of the learning rate after warm-up",
               choice<optim::Schedule::wsd>(c.schedule, schedules)});
  f.push_back({in, "warmup_steps", "steps of linear warm-up", &c.warmup_steps, up_to(1e15)});
  f.push_back(
      {in, "min_lr_ratio", "floor of the schedule, as a part of lr", &c.min_lr_ratio, up_to(1)});
}

void add_offload(Fields& f, plan::MemoryConfig& c) {
  constexpr auto in = Concern::memory;
  const auto place = [](plan::OffloadOr& value) {
    return choice<plan::OffloadOr::file>(value, offloads_or_auto);
  };
  f.push_back({in, "offload_optimizer", "where master weights and moments live",
               choice<plan::Offload::file>(c.offload_optimizer, offload_places)});
  f.push_back({in, "offload_master", "where master weights live; auto: as the optimizer",
               place(c.offload_master)});
  f.push_back({in, "offload_moments", "where moments live; auto: as the optimizer",
               place(c.offload_moments)});
  f.push_back({in, "offload_params", "where stored parameters live",
               choice<plan::Offload::file>(c.offload_params, offload_places)});
  f.push_back({in, "offload_grads",
               "where gradients live; auto: with the master weights, in fp32 as the optimizer",
               place(c.offload_grads)});
  f.push_back(
      {in, "offload_activations", "where what blocks hand on waits for backward",
       choice<plan::OffloadActivations::host>(c.offload_activations, offloads_of_activations)});
  f.push_back({in, "offload_fraction",
               "part of each shard that is offloaded; the rest stays on the device",
               &c.offload_fraction, up_to(1)});
  f.push_back({in,
               "offload_tile",
               "elements that move between tiers at once, a multiple of 256",
               &c.offload_tile,
               {.low = 256, .high = 1 << 22}});
  f.push_back({in, "update_on",
               "where updates run; auto: on the host if the master weights are offloaded",
               choice<plan::UpdateOn::host>(c.update_on, update_places)});
}

void add_file_tier(Fields& f, io::FileTierConfig& c) {
  constexpr auto in = Concern::memory;
  f.push_back({in,
               "offload_dir",
               "folder on a local disk for what lives in files; one run at a time",
               &c.offload_dir,
               {},
               {},
               "DIR"});
  f.push_back({in, "offload_dir_any", "accept an --offload-dir that is memory or on a network",
               &c.offload_dir_any});
  f.push_back({in, "io_engine", "how files are read and written; auto: io_uring if granted",
               choice<io::IoEngine::threads>(c.io_engine, io_engines)});
  f.push_back({in, "file_limit", "bytes in --offload-dir, all ranks together; 0: what is free",
               &c.file_limit, size, Unit::bytes});
}

void add_memory(Fields& f, plan::MemoryConfig& c) {
  constexpr auto in = Concern::memory;
  f.push_back({in, "recompute", "activations rebuilt in backward instead of kept",
               choice<plan::Recompute::block>(c.recompute, recomputes)});
  add_offload(f, c);
  f.push_back({in, "memory_limit", "bytes of a rank on its device; 0: what is free",
               &c.memory_limit, size, Unit::bytes});
  f.push_back({in, "host_memory_limit",
               "bytes of offloaded and pinned memory, all ranks together; 0: what is free",
               &c.host_memory_limit, size, Unit::bytes});
  f.push_back(
      {in, "fit", "choose stage, recompute, placement and the like so that the run fits", &c.fit});
}

void add_checkpoint(Fields& f, checkpoint::CheckpointConfig& c) {
  constexpr auto in = Concern::checkpoint;
  f.push_back({in, "save", "folder for this run's checkpoints", &c.save, {}, {}, "DIR"});
  f.push_back({in,
               "save_every",
               "steps between checkpoints; 0: only at the end; auto: by what saving costs",
               &c.save_every,
               {},
               {},
               "STEPS|auto"});
  f.push_back({in, "keep", "newest checkpoints that stay; 0: all", &c.keep, up_to(1e9)});
  f.push_back({in,
               "resume",
               "go on from this checkpoint; latest: the newest good one in --save",
               &c.resume,
               {},
               {},
               "DIR|latest"});
  f.push_back({in, "save_memory",
               "host memory of a rank's snapshot; what does not fit waits for the disk",
               &c.save_memory, size, Unit::bytes});
  f.push_back({in,
               "failures_per_day",
               "of the whole job, for --save-every auto",
               &c.failures_per_day,
               {.low = 0, .high = 1e6, .low_open = true}});
}

void add_output(Fields& f, OutputConfig& c) {
  constexpr auto in = Concern::output;
  f.push_back({in, "log", "write one JSON event a line to this file", &c.log, {}, {}, "FILE"});
  f.push_back({in,
               "trace",
               "write rank 0's steps as a Chrome trace to this file",
               &c.trace,
               {},
               {},
               "FILE"});
  f.push_back({in, "quiet", "no progress, only warnings", &c.quiet});
  f.push_back({in, "dry_run", "print the plan, then stop", &c.dry_run});
}

}  // namespace

std::vector<Field> describe(RunConfig& config) {
  std::vector<Field> fields;
  add_model(fields, config.model);
  add_data(fields, config.data);
  add_batch(fields, config.batch);
  add_ranks(fields, config.ranks);
  add_sharding(fields, config.sharding);
  add_precision(fields, config.precision);
  add_optimizer(fields, config.optimizer);
  add_memory(fields, config.memory);
  add_file_tier(fields, config.file_tier);
  add_checkpoint(fields, config.checkpoint);
  add_output(fields, config.output);
  return fields;
}

}  // namespace sherd::launch
