// What the verdict of a step reads and writes beside a planted gradient: losses, activations,
// scales, labels that do not count, and the clip factor at every stage.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "sherd/launch/rank.hpp"
#include "support/awkward_gpt2.hpp"
#include "support/persistent_state.hpp"
#include "support/thread_ranks.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

enum class Fault : std::uint8_t { inf_gradient, nan_gradient, nan_loss, nan_activation };

/// Says whether micro-step n, from 0, of this rank goes wrong.
using When = std::function<bool(int)>;

When only(int micro) {
  return [micro](int n) { return n == micro; };
}

class FaultyBlock final : public Block {
 public:
  FaultyBlock(std::unique_ptr<Block> inner, Fault fault, When when)
      : inner_(std::move(inner)), fault_(fault), when_(std::move(when)) {}
  void declare(Declare& d) const override { inner_->declare(d); }
  void forward(const Forward& f) override {
    inner_->forward(f);
    const bool bad = when_(forwards_++) && fault_ == Fault::nan_activation;
    if (bad) std::memset(f.out.data, 0xff, size_of(f.out.type));  // a NaN of any float type
  }
  void backward(const Backward& b) override {
    inner_->backward(b);
    const bool bad = when_(backwards_++) && fault_ == Fault::inf_gradient;
    if (bad) b.grads[0].to.as<float>()[0] = std::numeric_limits<float>::infinity();
  }

 private:
  std::unique_ptr<Block> inner_;
  Fault fault_;
  When when_;
  int forwards_ = 0, backwards_ = 0;
};

class FaultyHead final : public Head {
 public:
  FaultyHead(std::unique_ptr<Head> inner, Fault fault, When when)
      : inner_(std::move(inner)), fault_(fault), when_(std::move(when)) {}
  void declare(Declare& d) const override { inner_->declare(d); }
  void logits(const Forward& f) override { inner_->logits(f); }
  void loss(const LossCall& call) override {
    inner_->loss(call);
    if (!when_(calls_++)) return;
    if (fault_ == Fault::nan_loss) ++call.sums->nonfinite;
    if (fault_ == Fault::nan_gradient)
      call.grads[0].to.as<float>()[0] = std::numeric_limits<float>::quiet_NaN();
  }

 private:
  std::unique_ptr<Head> inner_;
  Fault fault_;
  When when_;
  int calls_ = 0;
};

launch::Job faulty_job(const launch::RunConfig& config, Fault fault, const When& when) {
  launch::Job job = awkward_job(awkward_gpt2(), one_and_a_half_batches(config));
  std::unique_ptr<Block>& block = job.model.blocks[2].block;
  block = std::make_unique<FaultyBlock>(std::move(block), fault, when);
  job.model.head = std::make_unique<FaultyHead>(std::move(job.model.head), fault, when);
  return job;
}

/// A run in which rank `bad` meets `fault`; the others' models are as sound as ever.
ThreadRun faulty_run(const launch::RunConfig& config, Rank bad, Fault fault, When when) {
  return {.config = config, .job = [=](Rank rank) {
            return rank == bad ? faulty_job(config, fault, when)
                               : awkward_job(awkward_gpt2(), one_and_a_half_batches(config));
          }};
}

ThreadRun sound_run(const launch::RunConfig& config) {
  return {.config = config, .job = [config](Rank) {
            return awkward_job(awkward_gpt2(), one_and_a_half_batches(config));
          }};
}

/// What a rank had before its first step and after each.
struct Watched {
  std::vector<engine::StepResult> steps;
  std::vector<std::string> hashes;
  std::vector<std::vector<std::byte>> params, optimizer;
};

std::vector<Watched> watch(const ThreadRun& run) {
  ThreadRanks ranks(run);
  std::vector<Watched> watched(static_cast<std::size_t>(ranks.world()));
  rethrow(ranks.run([&](ThreadRank& seat) {
    Watched& own = watched[static_cast<std::size_t>(seat.rank)];
    const auto look = [&] {
      own.hashes.push_back(seat.engine.parameters_hash());
      own.params.push_back(persistent_bytes(seat, memory::Use::params));
      own.optimizer.push_back(persistent_bytes(seat, memory::Use::optimizer));
    };
    look();
    while (seat.engine.steps() < seat.prepared.steps) {
      own.steps.push_back(seat.engine.step());
      look();
    }
  }));
  return watched;
}

// Step `index`, from 0, changed something exactly if it was not skipped.
void check_step(const Watched& rank, std::size_t index, bool skipped) {
  const engine::StepResult& step = rank.steps[index];
  CAPTURE(index);
  CHECK(step.skipped == skipped);
  CHECK(step.skipped_in_row == (skipped ? 1u : 0u));
  CHECK(std::isfinite(step.loss) == !skipped);
  CHECK(std::isfinite(step.grad_norm) == !skipped);
  CHECK((rank.hashes[index] == rank.hashes[index + 1]) == skipped);
  CHECK((rank.params[index] == rank.params[index + 1]) == skipped);
  CHECK((rank.optimizer[index] == rank.optimizer[index + 1]) == skipped);
}

launch::RunConfig staged(int world, int stage, optim::Precision precision) {
  launch::RunConfig config = awkward_config(world);
  config.sharding.zero_stage = stage;
  config.sharding.overlap = stage % 2 == 0 ? plan::Overlap::off : plan::Overlap::on;
  config.precision.precision = precision;
  if (precision == optim::Precision::fp16) config.precision.loss_scale_init = 1024;
  return config;
}

void check_skips(optim::Precision precision, Fault fault) {
  std::string expected;  // a skipped step is part of what no stage may change
  for (int stage = 0; stage <= 3; ++stage) {
    CAPTURE(stage);
    launch::RunConfig config = staged(2, stage, precision);
    config.batch.grad_accum = 2;
    config.sharding.reduce_every = plan::ReduceEvery::micro;
    const std::vector<Watched> watched = watch(faulty_run(config, 1, fault, only(2)));
    for (const Watched& rank : watched) {
      check_step(rank, 0, false);
      check_step(rank, 1, true);
      check_step(rank, 2, false);
      if (expected.empty()) expected = rank.hashes.back();
      CHECK(rank.hashes.back() == expected);
    }
  }
}

/// Every rank as `launch` runs it; counts the steps that rank 0 heard of.
struct Judged : launch::Observer {
  void started(const launch::RunStart&) override {}
  void stepped(const engine::StepResult& result, double) override { steps.push_back(result); }
  void settled(const std::vector<engine::PhaseReport>&) override {}
  void saved(const launch::Saved&) override {}
  void evaluated(std::uint64_t, double) override {}
  void ended(const launch::RunSummary&) override { finished = true; }
  std::vector<engine::StepResult> steps;
  bool finished = false;
};

Ending launched(const ThreadRun& run, Judged& judged) {
  ThreadRanks ranks(run);
  const auto peers = comm::thread_arenas(ranks.world());
  return ranks.each([&](Rank rank, comm::ControlBlock& control) {
    const launch::RankEnvironment seat{.rank = rank, .world = ranks.world()};
    launch::RankMemory memory(ranks.arena(rank), peers);
    launch::run_rank(ranks.validated(), ranks.job(rank), ranks.prepared(rank),
                     {control, seat, memory}, rank == 0 ? &judged : nullptr);
  });
}

/// Tokens none of which count.
class Masked final : public data::Source {
 public:
  std::uint64_t samples() const override { return tokens_.samples(); }
  data::SampleShape shape() const override { return tokens_.shape(); }
  void read(std::uint64_t sample, View inputs, View labels) const override {
    tokens_.read(sample, inputs, labels);
    for (std::int32_t& label : labels.span<std::int32_t>()) label = -100;
  }
  std::uint64_t fingerprint() const override { return mix(tokens_.fingerprint()); }

 private:
  MadeTokens tokens_{8};
};

ThreadRun masked_run(const launch::RunConfig& config) {
  return {.config = config, .job = [](Rank) {
            launch::Job job = awkward_job(awkward_gpt2(), 8);
            job.train = std::make_unique<Masked>();
            return job;
          }};
}

}  // namespace

TEST_CASE("a gradient, loss or activation of one micro-step on one rank makes all skip the step") {
  check_skips(optim::Precision::bf16, Fault::inf_gradient);
  check_skips(optim::Precision::bf16, Fault::nan_gradient);
  check_skips(optim::Precision::fp32, Fault::nan_loss);
  check_skips(optim::Precision::fp16, Fault::nan_activation);
}

TEST_CASE("the step that grows the loss scale is unscaled with the scale its gradients carry") {
  launch::RunConfig config = staged(2, 3, optim::Precision::fp16);
  config.optimizer.optimizer = optim::Kind::sgd;
  config.optimizer.beta1 = 0;
  config.batch.steps = 4;
  config.precision.loss_scale_window = 2;
  const auto run = [](const launch::RunConfig& c) { return watch(sound_run(c))[1]; };
  const Watched growing = run(config);
  std::vector<double> scales;
  for (const engine::StepResult& step : growing.steps) scales.push_back(step.loss_scale);
  CHECK(scales == std::vector<double>{1024, 1024, 1024, 2048});

  config.precision = {.precision = optim::Precision::fp16, .loss_scale = 1024};
  const Watched still = run(config);
  CHECK(growing.hashes[3] == still.hashes[3]);
  CHECK(growing.optimizer[3] == still.optimizer[3]);
  CHECK(growing.steps[3].grad_norm ==
        doctest::Approx(still.steps[3].grad_norm).epsilon(1e-3));  // fp16 near its smallest numbers
}

TEST_CASE("nine skipped steps in a row and a sound one do not end a run") {
  launch::RunConfig config = staged(2, 2, optim::Precision::fp32);
  config.batch.steps = 21;
  const When mostly = [](int n) { return n % 10 != 9; };
  Judged judged;
  const Ending ending = launched(faulty_run(config, 1, Fault::inf_gradient, mostly), judged);
  CHECK(ending.cause == "");
  CHECK(judged.finished);
  CHECK(judged.steps.size() == 21);
}

TEST_CASE("a step without a label that counts is skipped, but says nothing of divergence") {
  for (const optim::Precision precision : {optim::Precision::fp32, optim::Precision::fp16}) {
    launch::RunConfig config = staged(2, 3, precision);
    config.batch.steps = 12;
    if (precision == optim::Precision::fp16) config.precision.loss_scale_window = 2;
    for (const Watched& rank : watch(masked_run(config))) {
      for (const engine::StepResult& step : rank.steps) {
        CHECK(step.skipped);
        CHECK(step.skipped_in_row == 0);
        CHECK(step.tokens == 0);
        CHECK(step.loss_scale == rank.steps[0].loss_scale);
      }
      CHECK(rank.hashes.back() == rank.hashes[0]);
      CHECK(rank.params.back() == rank.params[0]);
      CHECK(rank.optimizer.back() == rank.optimizer[0]);
    }
    Judged judged;
    CHECK(launched(masked_run(config), judged).cause == "");
    CHECK(judged.steps.size() == 12);
  }
}

TEST_CASE("the norm is unscaled and taken before clipping") {
  std::vector<double> norms;
  for (const double scale : {1024.0, 65536.0}) {
    launch::RunConfig config = staged(2, 2, optim::Precision::fp16);
    config.precision = {.precision = optim::Precision::fp16, .loss_scale = scale};
    config.batch.steps = 1;
    for (const double clip : {0.0, 0.01}) {
      config.optimizer.clip_grad_norm = clip;
      const engine::StepResult step = watch(sound_run(config))[0].steps[0];
      CHECK_FALSE(step.skipped);
      CHECK(step.loss_scale == scale);
      norms.push_back(step.grad_norm);
    }
  }
  CHECK(norms[1] == norms[0]);
  CHECK(norms[3] == norms[2]);
  CHECK(norms[2] == doctest::Approx(norms[0]).epsilon(1e-3));  // small fp16 numbers lose bits
}

namespace {

std::vector<double> change(const Watched& rank) {
  std::vector<float> before(rank.params[0].size() / sizeof(float)), after(before.size());
  std::memcpy(before.data(), rank.params[0].data(), rank.params[0].size());
  std::memcpy(after.data(), rank.params[1].data(), rank.params[1].size());
  std::vector<double> by(before.size());
  for (std::size_t i = 0; i < by.size(); ++i)
    by[i] = static_cast<double>(before[i]) - static_cast<double>(after[i]);
  return by;
}

double square(const std::vector<double>& x) {
  double sum = 0;
  for (const double v : x) sum += v * v;
  return sum;
}

}  // namespace

TEST_CASE("clipped SGD moves as unclipped SGD does, times the factor, at every stage") {
  for (int stage = 0; stage <= 3; ++stage) {
    CAPTURE(stage);
    launch::RunConfig config = staged(2, stage, optim::Precision::fp32);
    config.batch.steps = 1;
    config.optimizer = {};
    config.optimizer.optimizer = optim::Kind::sgd;
    config.optimizer.beta1 = 0;
    config.optimizer.lr = 4;
    const std::vector<Watched> free = watch(sound_run(config));
    const double norm = free[0].steps[0].grad_norm, clip = norm / 3;
    config.optimizer.clip_grad_norm = clip;
    const std::vector<Watched> clipped = watch(sound_run(config));
    CHECK(clipped[0].steps[0].grad_norm == norm);
    double moved = 0;
    for (std::size_t rank = 0; rank < 2; ++rank) {
      const std::vector<double> far = change(free[rank]), near = change(clipped[rank]);
      std::vector<double> off(far.size());
      for (std::size_t i = 0; i < far.size(); ++i) off[i] = near[i] - far[i] * clip / (norm + 1e-6);
      CHECK(std::sqrt(square(off)) < 1e-5 * std::sqrt(square(near)));
      if (rank == 0 || stage > 0) moved += square(far);  // stage 0 holds all on each rank
    }
    CHECK(std::sqrt(moved) / config.optimizer.lr == doctest::Approx(norm).epsilon(1e-5));
  }
}

namespace {

/// Sample s counts only its first 5 s labels, so the first counts nothing.
class Skewed final : public data::Source {
 public:
  std::uint64_t samples() const override { return tokens_.samples(); }
  data::SampleShape shape() const override { return tokens_.shape(); }
  void read(std::uint64_t sample, View inputs, View labels) const override {
    tokens_.read(sample, inputs, labels);
    for (std::size_t i = 5 * sample; i < labels.span<std::int32_t>().size(); ++i)
      labels.as<std::int32_t>()[i] = -100;
  }
  std::uint64_t fingerprint() const override { return mix(~tokens_.fingerprint()); }

 private:
  MadeTokens tokens_{6};
};

}  // namespace

TEST_CASE("ranks without one label that counts leave the bits of a canonical run alone") {
  std::string hash;
  std::vector<double> losses;
  for (const int world : {1, 2, 3, 6}) {
    launch::RunConfig config = staged(world, 2, optim::Precision::fp32);
    config.batch.micro_batch = 1;
    config.batch.grad_accum = 6 / world;
    config.sharding.reduce_order = plan::ReduceOrder::canonical;
    const Watched rank = watch({.config = config, .job = [](Rank) {
                                  launch::Job job = awkward_job(awkward_gpt2(), 6);
                                  job.train = std::make_unique<Skewed>();
                                  return job;
                                }})[0];
    if (hash.empty()) hash = rank.hashes.back();
    CHECK(rank.hashes.back() == hash);
    CHECK_FALSE(rank.steps[2].skipped);
    losses.push_back(rank.steps[2].loss);
  }
  CHECK(losses == std::vector<double>(4, losses[0]));
}
