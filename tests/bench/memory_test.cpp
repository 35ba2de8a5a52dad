// Planned bytes against numbers worked out by hand, and what counts as wrong.
#include "sherd/bench/memory.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "sherd/bench/largest.hpp"
#include "sherd/launch/job.hpp"

using namespace sherd;
using bench::ByTier;
using bench::StateFormula;
using memory::Tier;

namespace {

// A million parameters in four buckets on eight ranks; bf16, fp32 gradients, master and moments.
StateFormula mixed(int stage, Tier optimizer) {
  return {.parameters = 1'048'576,
          .ranks = 8,
          .stage = stage,
          .buckets = 4,
          .tile = 8192,
          .kinds = {{2, 3, Tier::device},
                    {4, 2, Tier::device},
                    {4, 1, optimizer},
                    {4, 1, optimizer},
                    {4, 1, optimizer}}};
}

plan::Plan planned(const launch::RunConfig& config) {
  const launch::Validated run = launch::resolve(config, launch::Purpose::plan);
  return launch::prepare(run, launch::zoo_job(run), 0).plan;
}

launch::RunConfig on_file(int ranks, int stage) {
  launch::RunConfig config;
  config.precision.precision = optim::Precision::bf16;
  config.ranks.ranks = ranks;
  config.ranks.threads = 1;
  config.batch.micro_batch = 1;
  config.sharding.zero_stage = stage;
  config.sharding.bucket_bytes = 256 * kib;
  config.memory.offload_optimizer = plan::Offload::file;
  config.memory.offload_tile = 16384;
  config.file_tier.offload_dir = ".";
  return config;
}

}  // namespace

TEST_CASE("the closed form of resident states is the table of the paper") {
  const Bytes psi = 1'048'576;
  CHECK(mixed(0, Tier::device).at_most() == ByTier{18 * psi, 0, 0});
  CHECK(mixed(1, Tier::device).at_most() == ByTier{6 * psi + 12 * psi / 8, 0, 0});
  CHECK(mixed(2, Tier::device).at_most() == ByTier{2 * psi + 16 * psi / 8, 0, 0});
  CHECK(mixed(3, Tier::device).at_most() == ByTier{18 * psi / 8, 0, 0});
}

TEST_CASE(
    "the closed form of 7.5 billion parameters on 64 ranks is the paper's 31.4, 16.6, 1.9 GB") {
  StateFormula formula{
      .parameters = 7.5e9,
      .ranks = 64,
      .kinds = {{2, 3, Tier::device}, {2, 2, Tier::device}, {12, 1, Tier::device}}};
  const double published[] = {120, 31.4, 16.6, 1.9};
  for (formula.stage = 0; formula.stage <= 3; ++formula.stage) {
    const double gb = static_cast<double>(formula.at_most().device) / 1e9;
    CHECK(std::abs(gb - published[formula.stage]) < 0.05);
  }
}

TEST_CASE("the closed form of states on the host moves bytes and adds none") {
  const Bytes psi = 1'048'576;
  CHECK(mixed(3, Tier::host).at_most() == ByTier{6 * psi / 8, 12 * psi / 8, 0});
}

TEST_CASE("the closed form of a fraction keeps the rest and rounds once a piece") {
  StateFormula formula = mixed(1, Tier::host);
  formula.fraction = 0.5;
  // 131072 parameters a rank; half of them, and a quantum of 256 for each of four buckets.
  CHECK(formula.at_most() == ByTier{6 * 1'048'576 + 12 * 65536, 12 * (65536 + 4 * 256), 0});
}

TEST_CASE("the closed form of records has a header and padding for each tile and piece") {
  // 131072 parameters of a rank: 16 whole tiles, and one more for each of four buckets.
  const Bytes record = 4096 + 4095, records = 16 + 4;
  CHECK(mixed(2, Tier::file).at_most() ==
        ByTier{2 * 1'048'576 + 4 * 131072, 0, 3 * (4 * 131072 + records * record)});
}

TEST_CASE("the closed form is close above plans of every stage with records") {
  for (const int stage : {0, 1, 2, 3}) {
    const plan::Plan plan = planned(on_file(stage == 0 ? 1 : 3, stage));
    const bench::MemoryFacts facts = bench::facts_of(plan, stage);
    INFO("stage " << stage);
    CHECK(facts.wrong() == 0);
    CHECK(facts.states.device == facts.formula.device);
    CHECK(facts.states.file > facts.formula.file * 8 / 10);
    CHECK(facts.states.file <= facts.formula.file);
  }
}

TEST_CASE("a plan that keeps one byte more than the formula is wrong") {
  plan::Plan plan = planned(on_file(2, 3));
  REQUIRE(bench::facts_of(plan, 3).wrong() == 0);
  for (plan::Buffer& buffer : plan.train.program.buffers) {
    if (buffer.name == "p.shard[0]") ++buffer.size;
  }
  CHECK(bench::facts_of(plan, 3).wrong() == 1);
}

TEST_CASE("a ledger that differs in any tier and a process that is too large are wrong") {
  const ByTier bytes{100 * mib, 10 * mib, 1000 * mib};
  const bench::MemoryFacts good{.planned = bytes,
                                .states = {90 * mib, 8 * mib, 900 * mib},
                                .formula = {90 * mib, 8 * mib, 900 * mib},
                                .measured = bytes,
                                .runtime = 30 * mib,
                                .rss_peak = 140 * mib + 16 * mib + 140 * mib / 100};
  CHECK(good.wrong() == 0);
  for (Bytes ByTier::*tier : {&ByTier::device, &ByTier::host, &ByTier::file}) {
    bench::MemoryFacts bad = good;
    --((*bad.measured).*tier);
    CHECK(bad.wrong() == 1);
    bad.states.*tier += mib;
    CHECK(bad.wrong() == 2);
  }
  bench::MemoryFacts large = good;
  ++large.rss_peak;
  CHECK(large.wrong() == 1);
}

TEST_CASE("the four published GPT-2 sizes lie on the curve of shapes") {
  struct Size {
    std::int64_t layers, heads, width;
    double parameters;
  };
  for (const Size& size : {Size{12, 12, 768, 124'439'808}, Size{24, 16, 1024, 354'823'168},
                           Size{36, 20, 1280, 774'030'080}, Size{48, 25, 1600, 1'557'611'200}}) {
    const model::Gpt2Config network = bench::gpt2_of(size.layers);
    CHECK(network.heads == size.heads);
    CHECK(network.width == size.width);
    CHECK(bench::parameters_of(network) == size.parameters);
  }
}

TEST_CASE("the largest models fit their limits, one layer more does not, memory beside helps") {
  const auto all = bench::largest_models(true, [](std::string_view) {});
  REQUIRE(all.size() == 12);
  for (const bench::LargestModel& one : all) {
    INFO(one.placing.name() << " " << one.limits.device / gib << " GiB");
    REQUIRE(one.parameters > 0);
    CHECK(bench::row_of(one).wrong == 0);
    CHECK(bench::row_of(one).of_bound() <= 1 + 1e-9);
    const ByTier next = bench::need_of(bench::gpt2_of(one.network.layers + 1), one.placing);
    const bool fits = next.device <= one.limits.device &&
                      (one.limits.host == 0 || next.host <= one.limits.host) &&
                      (one.limits.file == 0 || next.file <= one.limits.file);
    CHECK_FALSE(fits);
    bench::LargestModel over = one;
    over.limits.device = one.need.device - 1;
    CHECK(bench::row_of(over).wrong == 1);
  }
  const auto parameters = [&](int ranks, Tier home, Bytes device) {
    for (const bench::LargestModel& one : all) {
      if (one.placing.ranks == ranks && one.placing.home == home &&
          one.limits.device == device * gib)
        return one.parameters;
    }
    return 0.0;
  };
  CHECK(parameters(8, Tier::device, 24) > 4 * parameters(1, Tier::device, 24));
  CHECK(parameters(1, Tier::host, 24) > parameters(1, Tier::device, 24));
  CHECK(parameters(1, Tier::file, 24) > parameters(1, Tier::host, 24));
  CHECK(parameters(1, Tier::host, 24) > parameters(1, Tier::host, 4));
  const std::string picture = bench::draw(all);
  CHECK(picture.find("file, stage 3 on 8 ranks, host 32 GiB, file 128 GiB") != std::string::npos);
}
