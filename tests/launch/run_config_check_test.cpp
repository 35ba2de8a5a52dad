#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "sherd/base/errors.hpp"
#include "sherd/launch/field.hpp"
#include "sherd/launch/run_config.hpp"

using namespace sherd;
using launch::RunConfig;

namespace {

constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

RunConfig good() {
  RunConfig config;
  config.batch.steps = 10;
  return config;
}

std::string joined(const std::vector<std::string>& problems) {
  std::string all;
  for (const std::string& problem : problems) all += problem + "\n";
  return all;
}

struct Bad {
  std::function<void(RunConfig&)> spoil;
  std::string problem;  // the whole sentence
};

void require_each(const std::vector<Bad>& table) {
  RunConfig all = good();
  for (const Bad& bad : table) {
    CAPTURE(bad.problem);
    RunConfig config = good();
    bad.spoil(config);
    CHECK(joined(launch::check(config)) == bad.problem + "\n");
    bad.spoil(all);
  }
  const std::string everything = joined(launch::check(all));
  for (const Bad& bad : table) CHECK(everything.find(bad.problem + "\n") != std::string::npos);
}

}  // namespace

TEST_CASE("a config with steps and defaults has no problem") {
  CHECK(launch::check(good()).empty());
  CHECK(launch::check(RunConfig{}, launch::Purpose::plan).empty());
  CHECK(joined(launch::check(RunConfig{})) == "--steps: needed to train (or give --epochs)\n");
}

TEST_CASE("each number out of its range is one problem, and all are listed together") {
  require_each({
      {[](RunConfig& c) { c.sharding.zero_stage = 4; },
       "--zero-stage: got 4, need an integer from 0 to 3"},
      {[](RunConfig& c) { c.sharding.prefetch = 65; },
       "--prefetch: got 65, need an integer from 0 to 64"},
      {[](RunConfig& c) { c.sharding.bucket_bytes = 0; },
       "--bucket-bytes: got 0, need a size of 1 byte or more, such as 512MiB"},
      {[](RunConfig& c) { c.ranks.ranks = 0; }, "--ranks: got 0, need an integer from 1 to 64"},
      {[](RunConfig& c) { c.ranks.threads = -1; },
       "--threads: got -1, need an integer from 0 to 1024"},
      {[](RunConfig& c) { c.ranks.timeout = 0; }, "--timeout: got 0, need seconds in (0, 86400]"},
      {[](RunConfig& c) { c.optimizer.lr = nan_value; },
       "--lr: got nan, need a number of 0 or more"},
      {[](RunConfig& c) { c.optimizer.beta1 = 1; }, "--beta1: got 1, need a number in [0, 1)"},
      {[](RunConfig& c) { c.optimizer.beta2 = -0.5; },
       "--beta2: got -0.5, need a number in [0, 1)"},
      {[](RunConfig& c) { c.optimizer.eps = 0; }, "--eps: got 0, need a number above 0"},
      {[](RunConfig& c) { c.optimizer.weight_decay = -1; },
       "--weight-decay: got -1, need a number of 0 or more"},
      {[](RunConfig& c) { c.optimizer.clip_grad_norm = infinity; },
       "--clip-grad-norm: got inf, need a number of 0 or more"},
      {[](RunConfig& c) { c.optimizer.warmup_steps = -3; },
       "--warmup-steps: got -3, need an integer from 0 to 1000000000000000"},
      {[](RunConfig& c) { c.optimizer.min_lr_ratio = 1.5; },
       "--min-lr-ratio: got 1.5, need a number from 0 to 1"},
      {[](RunConfig& c) { c.model.dropout = 1; }, "--dropout: got 1, need a number in [0, 1)"},
      {[](RunConfig& c) { c.model.layers = -1; },
       "--layers: got -1, need an integer from 0 to 1024"},
      {[](RunConfig& c) {
         c.precision.loss_scale_window = 0;
         c.precision.precision = optim::Precision::fp16;
       },
       "--loss-scale-window: got 0, need an integer from 1 to 1000000000"},
      {[](RunConfig& c) { c.batch.micro_batch = std::numeric_limits<std::int64_t>::max(); },
       "--micro-batch: got 9223372036854775807, need an integer from 0 to 1048576"},
  });
}

TEST_CASE("settings that exclude each other are refused") {
  using plan::ReduceEvery;
  using plan::ReduceOrder;
  require_each({
      {[](RunConfig& c) { c.batch.epochs = 1; }, "--steps: excludes --epochs; give one of them"},
      {[](RunConfig& c) { c.batch.eval_every = 5; }, "--eval-every: needs --val-data"},
      {[](RunConfig& c) { c.batch.eval_batches = 5; }, "--eval-batches: needs --val-data"},
      {[](RunConfig& c) {
         c.model.context = 32;
         c.data.seq_len = 33;
       },
       "--seq-len: got 33, need at most --context 32"},
      {[](RunConfig& c) { c.data.tokenizer = ""; },
       "--tokenizer: got nothing, need bytes or a file"},
      {[](RunConfig& c) {
         c.sharding.reduce_order = ReduceOrder::canonical;
         c.sharding.reduce_every = ReduceEvery::step;
       },
       "--reduce-order: canonical excludes --reduce-every step"},
      {[](RunConfig& c) {
         c.sharding.reduce_order = ReduceOrder::canonical;
         c.precision.grad_dtype = optim::GradDType::bf16;
       },
       "--reduce-order: canonical excludes --grad-dtype bf16"},
      {[](RunConfig& c) {
         c.ranks.backend = comm::Backend::nccl;
         c.sharding.reduce_order = ReduceOrder::canonical;
       },
       "--backend: nccl excludes --reduce-order canonical, whose order is ours"},
      {[](RunConfig& c) {
         c.ranks.backend = comm::Backend::nccl;
         c.precision.grad_dtype = optim::GradDType::bf16;
       },
       "--backend: nccl excludes --grad-dtype bf16, whose rounding is ours"},
      {[](RunConfig& c) { c.precision.loss_scale = 8; }, "--loss-scale: needs --precision fp16"},
      {[](RunConfig& c) { c.precision.loss_scale_min = 2; },
       "--loss-scale-min: needs --precision fp16"},
  });
  RunConfig fixed = good();
  fixed.precision = {.precision = optim::Precision::fp16, .loss_scale = 8, .loss_scale_init = 4};
  CHECK(joined(launch::check(fixed)) == "--loss-scale-init: needs --loss-scale dynamic\n");
  fixed.precision = {
      .precision = optim::Precision::fp16, .loss_scale_init = 4, .loss_scale_min = 8};
  CHECK(joined(launch::check(fixed)) ==
        "--loss-scale-init: got 4, need at least --loss-scale-min 8\n");
}

TEST_CASE("the batch equation fills in what is left out and refuses what does not divide") {
  struct Row {
    std::int64_t global, micro, accum;
    int world;
    std::int64_t want_global, want_micro, want_accum;  // 0: refused
  };
  // The first four rows are DeepSpeed's own test vectors for two ranks.
  const Row table[] = {
      {32, 16, 1, 2, 32, 16, 1}, {32, 8, 2, 2, 32, 8, 2},  {33, 17, 2, 2, 0, 0, 0},
      {32, 18, 1, 2, 0, 0, 0},   {32, 0, 0, 2, 32, 16, 1}, {0, 16, 0, 2, 32, 16, 1},
      {0, 16, 3, 2, 96, 16, 3},  {0, 0, 3, 2, 48, 8, 3},   {0, 0, 0, 1, 8, 8, 1},
      {32, 8, 0, 2, 32, 8, 2},   {32, 0, 4, 2, 32, 4, 4},  {30, 0, 4, 2, 0, 0, 0},
      {32, 5, 0, 2, 0, 0, 0},    {3, 0, 0, 5, 0, 0, 0},    {15, 1, 3, 5, 15, 1, 3},
      {64, 0, 0, 64, 64, 1, 1},  {2, 4, 0, 1, 0, 0, 0},
  };
  for (const Row& row : table) {
    CAPTURE(row.global);
    CAPTURE(row.micro);
    CAPTURE(row.accum);
    CAPTURE(row.world);
    data::BatchConfig batch;
    batch.global_batch = row.global;
    batch.micro_batch = row.micro;
    batch.grad_accum = row.accum;
    const launch::ResolvedBatch made = launch::resolve_batch(batch, row.world);
    CHECK(made.problem.empty() == (row.want_global > 0));
    if (row.want_global == 0) continue;
    CHECK(made.batch.global_batch == row.want_global);
    CHECK(made.batch.micro_batch == row.want_micro);
    CHECK(made.batch.grad_accum == row.want_accum);
  }
}

TEST_CASE("a batch equation that fails is stated with its numbers") {
  RunConfig config = good();
  config.ranks.ranks = 2;
  config.batch.global_batch = 33;
  config.batch.micro_batch = 17;
  config.batch.grad_accum = 2;
  CHECK(joined(launch::check(config)) ==
        "--global-batch: --global-batch 33 = --micro-batch 17 x --grad-accum 2 x 2 ranks does not "
        "hold: the right side is 68\n");
  config.batch.grad_accum = 0;
  CHECK(joined(launch::check(config)) ==
        "--global-batch: --global-batch 33 = --micro-batch 17 x --grad-accum ? x 2 ranks does not "
        "hold for any whole number\n");
}

TEST_CASE("a resolved config has its batch and every portable auto chosen") {
  RunConfig config = good();
  config.ranks.ranks = 3;
  const launch::Validated plain = launch::resolve(config);
  CHECK(plain->batch.micro_batch == 8);
  CHECK(plain->batch.grad_accum == 1);
  CHECK(plain->batch.global_batch == 24);
  CHECK(plain->ranks.backend == comm::Backend::local);
  CHECK(plain->ranks.device == "cpu");
  const auto mode_of = [&](int stage, plan::ReduceOrder order) {
    RunConfig one = config;
    one.sharding.zero_stage = stage;
    one.sharding.reduce_order = order;
    return launch::resolve(one)->sharding.reduce_every;
  };
  CHECK(mode_of(0, plan::ReduceOrder::fast) == plan::ReduceEvery::step);
  CHECK(mode_of(1, plan::ReduceOrder::fast) == plan::ReduceEvery::step);
  CHECK(mode_of(2, plan::ReduceOrder::fast) == plan::ReduceEvery::micro);
  CHECK(mode_of(3, plan::ReduceOrder::fast) == plan::ReduceEvery::micro);
  CHECK(mode_of(0, plan::ReduceOrder::canonical) == plan::ReduceEvery::micro);
  config.batch.steps = -1;
  config.optimizer.lr = -1;
  try {
    (void)launch::resolve(config);
    FAIL("resolve accepted a bad config");
  } catch (const ConfigError& error) {
    CHECK(error.problems.size() == 2);
  }
}

TEST_CASE("an enum value outside its names is a problem, not a crash") {
  RunConfig config = good();
  config.optimizer.optimizer = static_cast<optim::Kind>(9);
  CHECK(joined(launch::check(config)) == "--optimizer: got 9, need one of adamw, lion, sgd\n");
}

TEST_CASE("a number that fp32 cannot hold is refused before it becomes another one") {
  launch::RunConfig config;
  config.batch.steps = 1;
  CHECK(launch::check(config).empty());
  config.optimizer.lr = 1e39;
  config.optimizer.eps = 1e-46;
  config.optimizer.beta1 = 0.99999999999;
  const std::vector<std::string> problems = launch::check(config);
  REQUIRE(problems.size() == 3);
  CHECK(problems[0] == "--lr: got 1e+39, which fp32 cannot hold");
  CHECK(problems[1] == "--eps: got 1e-46, which fp32 cannot hold");
  CHECK(problems[2].find("--beta1: ") == 0);
}
