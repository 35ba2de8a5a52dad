// Loss, norm and clipping against closed forms, and over ranks that count different tokens.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "sherd/base/poison.hpp"
#include "sherd/model/mlp.hpp"
#include "support/awkward_gpt2.hpp"
#include "support/thread_ranks.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

constexpr float absent = std::numeric_limits<float>::quiet_NaN();
constexpr float targets[] = {1, absent, absent, 4, absent, 6, 7, 8, absent, absent, 11};

/// Inputs (1, 0), labels from a table in which NaN counts nothing.
class Rows final : public data::Source {
 public:
  std::uint64_t samples() const override { return std::size(targets); }
  data::SampleShape shape() const override { return {2, DType::f32, 1, DType::f32}; }
  void read(std::uint64_t sample, View inputs, View labels) const override {
    inputs.as<float>()[0] = 1;
    inputs.as<float>()[1] = 0;
    *labels.as<float>() = targets[sample];
  }
  std::uint64_t fingerprint() const override { return 11; }
};

class Zeros final : public model::Weights {
 public:
  void read(const model::ParamSpec&, std::uint64_t, std::span<float> out) const override {
    std::ranges::fill(out, 0.0f);
  }
  std::uint64_t fingerprint() const override { return 0; }
};

launch::Job linear_job(Rank) {
  launch::Job job;
  job.model = model::mlp({.inputs = 2, .width = 1, .hidden = 0, .outputs = 1});
  job.description = "linear";
  job.train = std::make_unique<Rows>();
  job.sample = job.train->shape();
  job.weights = [](const model::ModelSpec&) { return std::make_unique<Zeros>(); };
  return job;
}

launch::RunConfig linear_config(int world, int stage) {
  launch::RunConfig config = awkward_config(world);
  config.batch.micro_batch = 12 / world;  // one more than there are: the last rank gets less
  config.batch.steps = 1;
  config.sharding.zero_stage = stage;
  config.optimizer = {};
  config.optimizer.optimizer = optim::Kind::sgd;
  config.optimizer.beta1 = 0;
  config.optimizer.lr = 0.5;
  return config;
}

/// Weight, its idle neighbour and bias after one step.
std::vector<float> after_step(const launch::RunConfig& config, engine::StepResult& result) {
  const ThreadRun run{.config = config, .job = linear_job};
  ThreadRanks ranks(run);
  std::vector<float> values;
  rethrow(ranks.run([&](ThreadRank& seat) {
    const engine::StepResult step = seat.engine.step();
    if (seat.rank != 0) return;
    result = step;
    if (poison_works()) unpoison(seat.arena);
    const plan::Plan& plan = seat.prepared.plan;
    for (std::size_t i = 0; i < plan.train.program.buffers.size(); ++i) {
      if (plan.train.program.buffers[i].name != "p.full[0]") continue;
      const auto* p = reinterpret_cast<const float*>(seat.arena.data() + plan.train.at[i].offset);
      values = {p[0], p[1], p[shard::quantum]};
    }
    if (poison_works()) poison(seat.arena);
  }));
  return values;
}

}  // namespace

TEST_CASE("loss and gradient are means over counted rows, however unevenly ranks hold them") {
  double squares = 0, sum = 0, count = 0;
  for (const float y : targets) {
    if (std::isnan(y)) continue;
    squares += 0.5 * static_cast<double>(y) * static_cast<double>(y);
    sum += static_cast<double>(y);
    ++count;
  }
  for (const int world : {1, 2, 3, 4, 6}) {
    CAPTURE(world);
    engine::StepResult step;
    const std::vector<float> p = after_step(linear_config(world, 0), step);
    CHECK(step.tokens == static_cast<std::uint64_t>(count));
    CHECK(step.loss == doctest::Approx(squares / count).epsilon(1e-12));
    CHECK(step.grad_norm == doctest::Approx(std::sqrt(2.0) * sum / count).epsilon(1e-6));
    REQUIRE(p.size() == 3);
    CHECK(static_cast<double>(p[0]) == doctest::Approx(0.5 * sum / count).epsilon(1e-6));
    CHECK(p[1] == 0);
    CHECK(p[2] == p[0]);
  }
}

TEST_CASE("clipping shortens the whole gradient to the given norm") {
  for (const int world : {1, 2}) {
    launch::RunConfig config = linear_config(world, 0);
    config.optimizer.clip_grad_norm = 0.25;
    engine::StepResult step;
    const std::vector<float> p = after_step(config, step);
    REQUIRE(p.size() == 3);
    const double moved = std::hypot(static_cast<double>(p[0]), static_cast<double>(p[2]));
    CHECK(step.grad_norm > 1);  // as it was before
    CHECK(moved == doctest::Approx(0.5 * 0.25).epsilon(1e-5));
    config.optimizer.clip_grad_norm = 1000;
    const std::vector<float> free = after_step(config, step);
    config.optimizer.clip_grad_norm = 0;
    CHECK(free == after_step(config, step));
  }
}

TEST_CASE("the reported norm does not know the loss scale") {
  for (const int world : {1, 2, 3}) {
    std::vector<double> norms;
    for (const double scale : {1024.0, 65536.0}) {  // every scaled gradient is a normal fp16 number
      launch::RunConfig config = linear_config(world, 0);
      config.precision.precision = optim::Precision::fp16;
      config.precision.loss_scale = scale;
      engine::StepResult step;
      static_cast<void>(after_step(config, step));
      CHECK_FALSE(step.skipped);
      norms.push_back(step.grad_norm);
    }
    CHECK(norms[0] == norms[1]);
  }
}

TEST_CASE("the mean over uneven ranks is to the last bit that of one rank with the same leaves") {
  std::vector<std::uint64_t> losses, tokens;
  for (const int world : {1, 2, 3, 6}) {
    launch::RunConfig config = awkward_config(world);
    config.batch.steps = 1;
    config.batch.grad_accum = 6 / world;
    config.sharding.zero_stage = 3;
    const ThreadRun run{.config = config,
                        .job = [](Rank) { return awkward_job(awkward_gpt2(), 7); }};
    ThreadRanks ranks(run);
    const engine::StepResult step = train(ranks)[0].steps[0];
    losses.push_back(std::bit_cast<std::uint64_t>(step.loss));
    tokens.push_back(step.tokens);
  }
  CHECK(losses == std::vector<std::uint64_t>(4, losses[0]));
  CHECK(tokens == std::vector<std::uint64_t>(4, tokens[0]));
  CHECK(tokens[0] < 7 * awkward_length);
}
