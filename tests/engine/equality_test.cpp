// Equal numerics keys give equal bits, at any stage, recompute, overlap, prefetch and bucket size,
// and each run moves and holds exactly the bytes it was planned to.
#include <doctest/doctest.h>

#include <bit>

#include "support/awkward_gpt2.hpp"
#include "support/state_bytes.hpp"
#include "support/thread_ranks.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

/// What may not change a bit.
struct Policy {
  int stage;
  plan::Recompute recompute;
  plan::Overlap overlap;
  int prefetch;
  Bytes bucket;
};

using plan::Overlap;
using plan::Recompute;
constexpr Bytes small = 1, medium = 150 * kib, large = 4 * mib;

// Every pair of values of two fields stands in some line.
constexpr Policy policies[] = {
    {0, Recompute::none, Overlap::off, 0, small},
    {3, Recompute::selective, Overlap::on, 1, small},
    {1, Recompute::block, Overlap::on, 3, medium},
    {2, Recompute::none, Overlap::on, 3, large},
    {3, Recompute::block, Overlap::off, 0, large},
    {0, Recompute::selective, Overlap::on, 3, large},
    {1, Recompute::none, Overlap::off, 1, small},
    {2, Recompute::selective, Overlap::off, 0, medium},
    {3, Recompute::none, Overlap::on, 3, medium},
    {0, Recompute::block, Overlap::on, 1, medium},
    {2, Recompute::block, Overlap::on, 1, small},
    {1, Recompute::selective, Overlap::on, 0, large},
    {3, Recompute::none, Overlap::off, 1, large},
    {2, Recompute::block, Overlap::off, 3, small},
};

launch::RunConfig with(launch::RunConfig config, const Policy& policy) {
  config.sharding.zero_stage = policy.stage;
  config.memory.recompute = policy.recompute;
  config.sharding.overlap = policy.overlap;
  config.sharding.prefetch = policy.prefetch;
  config.sharding.bucket_bytes = policy.bucket;
  return config;
}

struct Bits {
  std::string hash, key;
  std::vector<std::uint64_t> numbers;  // loss, norm and scale of each step
};

void check_bytes(const ThreadRanks& ranks, const std::vector<RankResult>& results) {
  const launch::RunConfig& config = *ranks.validated();
  const auto steps = static_cast<Bytes>(config.batch.steps);
  for (Rank rank = 0; rank < ranks.world(); ++rank) {
    const RankResult& result = results[static_cast<std::size_t>(rank)];
    const plan::Plan& plan = ranks.prepared(rank).plan;
    const Accounted said = account(config, plan.setup.layout.padded());
    const plan::Wire wire = plan::wire_bytes(plan.train.program, ranks.world());
    const auto sent = [&](comm::Verb verb) {
      return result.traffic[static_cast<std::size_t>(verb)];
    };
    CHECK(sent(comm::Verb::all_gather) == wire.all_gather * steps);
    CHECK(sent(comm::Verb::reduce_scatter) == wire.reduce_scatter * steps);
    CHECK(sent(comm::Verb::all_reduce) == wire.all_reduce * steps);
    CHECK(wire.reduce_scatter == said.wire.reduce_scatter);
    CHECK(wire.all_reduce == said.wire.all_reduce);
    CHECK(wire.all_gather <= said.gathers_at_most);
    if (config.sharding.zero_stage < 3) CHECK(wire.all_gather == said.gathers_at_most);
    CHECK(result.measured.persistent == said.persistent);
    CHECK(result.measured.peak == plan.memory.peak[0]);
    CHECK(result.measured.arena == plan.memory.arena[0]);
  }
}

Bits bits_of(const launch::RunConfig& config) {
  const ThreadRun run{.config = config, .job = [&](Rank) {
                        return awkward_job(awkward_gpt2(), one_and_a_half_batches(config));
                      }};
  ThreadRanks ranks(run);
  const std::vector<RankResult> results = train(ranks);
  check_bytes(ranks, results);
  Bits bits{results[0].hash, ranks.prepared(0).policy_key, {}};
  for (const engine::StepResult& step : results[0].steps) {
    CHECK_FALSE(step.skipped);
    for (const double x : {step.loss, step.grad_norm, step.loss_scale})
      bits.numbers.push_back(std::bit_cast<std::uint64_t>(x));
  }
  for (const RankResult& other : results) {
    CHECK(other.hash == bits.hash);
    CHECK(other.steps.back().loss == results[0].steps.back().loss);
  }
  return bits;
}

std::string text_of(const launch::RunConfig& c) {
  return "world " + std::to_string(c.ranks.ranks) + " stage " +
         std::to_string(c.sharding.zero_stage) + " precision " +
         std::to_string(static_cast<int>(c.precision.precision)) + " grads " +
         std::to_string(static_cast<int>(c.precision.grad_dtype)) + " accum " +
         std::to_string(c.batch.grad_accum) + " reduce " +
         std::to_string(static_cast<int>(c.sharding.reduce_every)) + " recompute " +
         std::to_string(static_cast<int>(c.memory.recompute)) + " overlap " +
         std::to_string(static_cast<int>(c.sharding.overlap)) + " prefetch " +
         std::to_string(c.sharding.prefetch) + " bucket " + std::to_string(c.sharding.bucket_bytes);
}

void check_same(const Bits& bits, std::optional<Bits>& expected) {
  if (!expected) expected = bits;
  CHECK(bits.hash == expected->hash);
  CHECK(bits.key == expected->key);
  CHECK(bits.numbers == expected->numbers);
}

/// `count` policies from `first` on, round the table: all must give the same bits.
void check_equal(const launch::RunConfig& config, std::size_t first, std::size_t count) {
  std::optional<Bits> expected;
  for (std::size_t i = 0; i < count; ++i) {
    const launch::RunConfig one = with(config, policies[(first + i) % std::size(policies)]);
    CAPTURE(text_of(one));
    check_same(bits_of(one), expected);
  }
}

enum class Rhythm : std::uint8_t { once, step, micro };

launch::RunConfig keyed(int world, optim::Precision precision, Rhythm rhythm) {
  launch::RunConfig config = awkward_config(world);
  config.precision.precision = precision;
  if (precision == optim::Precision::fp16) config.precision.loss_scale_init = 1024;
  config.batch.grad_accum = rhythm == Rhythm::once ? 1 : 3;
  config.sharding.reduce_every =
      rhythm == Rhythm::micro ? plan::ReduceEvery::micro : plan::ReduceEvery::step;
  return config;
}

}  // namespace

TEST_CASE("a single rank gives equal bits for equal keys") {
  check_equal(keyed(1, optim::Precision::fp32, Rhythm::micro), 0, 4);
  check_equal(keyed(1, optim::Precision::bf16, Rhythm::once), 4, 4);
  check_equal(keyed(1, optim::Precision::fp16, Rhythm::step), 8, 4);
}

TEST_CASE("two ranks give equal bits for equal keys") {
  check_equal(keyed(2, optim::Precision::fp32, Rhythm::once), 0, std::size(policies));
  check_equal(keyed(2, optim::Precision::bf16, Rhythm::step), 5, 5);
  check_equal(keyed(2, optim::Precision::fp16, Rhythm::micro), 10, 5);
}

TEST_CASE("three ranks give equal bits for equal keys") {
  check_equal(keyed(3, optim::Precision::fp32, Rhythm::step), 1, 5);
  check_equal(keyed(3, optim::Precision::bf16, Rhythm::micro), 6, 5);
  check_equal(keyed(3, optim::Precision::fp16, Rhythm::once), 11, 5);
}

TEST_CASE("five ranks give equal bits for equal keys") {
  check_equal(keyed(5, optim::Precision::fp32, Rhythm::micro), 2, 4);
  check_equal(keyed(5, optim::Precision::bf16, Rhythm::once), 7, 4);
  check_equal(keyed(5, optim::Precision::fp16, Rhythm::step), 12, 4);
}

TEST_CASE("seven ranks, some of which own padding only, give equal bits for equal keys") {
  check_equal(keyed(7, optim::Precision::fp32, Rhythm::once), 13, 4);
}

TEST_CASE("stochastically rounded gradients do not depend on stage or bucket size") {
  launch::RunConfig config = keyed(2, optim::Precision::bf16, Rhythm::micro);
  config.precision.grad_dtype = optim::GradDType::bf16;
  check_equal(config, 1, 5);
  config.sharding.reduce_every = plan::ReduceEvery::step;
  check_equal(config, 6, 5);
}

TEST_CASE("canonical order gives one result for every world that divides the leaves") {
  std::optional<Bits> expected;
  std::size_t policy = 1;
  for (const int world : {1, 2, 3, 6}) {
    launch::RunConfig config = with(awkward_config(world), policies[policy]);
    policy += 3;
    config.sharding.reduce_order = plan::ReduceOrder::canonical;
    config.batch.grad_accum = 6 / world;
    CAPTURE(text_of(config));
    check_same(bits_of(config), expected);
  }
}

TEST_CASE("another seed gives other bits under another key") {
  launch::RunConfig config = keyed(2, optim::Precision::fp32, Rhythm::once);
  const Bits one = bits_of(config);
  config.model.seed = 2;
  const Bits other = bits_of(config);
  CHECK(one.hash != other.hash);
  CHECK(one.key != other.key);
  CHECK(one.numbers != other.numbers);
}
