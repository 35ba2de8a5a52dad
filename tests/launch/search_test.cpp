// The search against every combination, planned by loops that know nothing of it.
#include "sherd/launch/search.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "plan/toy_model.hpp"
#include "sherd/plan/simulate.hpp"

namespace sherd {
namespace {

using launch::Candidate;
using launch::RunConfig;
using launch::SearchOptions;
using launch::SearchResult;

launch::Job toy_job() {
  launch::Job job;
  job.model = toy::network(4, true);
  job.description = "toy";
  job.length = 25;
  job.sample = {25, DType::i32, 25, DType::i32};
  return job;
}

RunConfig toy_run(int world, std::int64_t micro, std::int64_t accum) {
  RunConfig config;
  config.ranks.ranks = world;
  config.ranks.device = "cpu";
  config.ranks.threads = 1;
  config.sharding.overlap = plan::Overlap::on;
  config.sharding.bucket_bytes = 16 * kib;
  config.batch.micro_batch = micro;
  config.batch.grad_accum = accum;
  return config;
}

launch::Validated resolved(const RunConfig& config) {
  return launch::resolve(config, launch::Purpose::plan);
}

struct Outcome {
  double seconds;
  launch::Limits needs;
  std::string key;
};
Outcome plan_of(const RunConfig& config, const plan::Machine& machine) {
  const launch::Job job = toy_job();
  const launch::Prepared made = launch::prepare(resolved(config), job, 0);
  return {plan::simulate(made.plan, machine).seconds,
          launch::needs_of(made.plan, config.ranks.ranks), made.policy_key};
}

// Rates at which a step of this network is not all latency.
plan::Machine machine(double net) {
  plan::Machine m;
  m.flops = 1e9;
  m.memory_bandwidth = 1e9;
  m.net_bandwidth = net;
  m.net_latency = 1e-6;
  return m;
}

// What everything together saves is still enough.
Bytes tight(const RunConfig& asked) {
  RunConfig least = asked;
  least.sharding.zero_stage = 3;
  least.memory.recompute = plan::Recompute::block;
  return plan_of(least, {}).needs.device;
}

constexpr Bytes plenty = Bytes{1} << 50;

// All but stage, recompute, bucket and prefetch.
const std::vector<std::string> placements = {
    "offload_optimizer",   "offload_params",   "offload_master", "offload_grads",
    "offload_activations", "offload_fraction", "update_on"};

template <class Visit>
void for_each_of_grid(const RunConfig& asked, Visit&& visit) {
  for (int stage = 0; stage <= 3; ++stage) {
    for (const plan::Recompute recompute :
         {plan::Recompute::none, plan::Recompute::selective, plan::Recompute::block}) {
      for (const Bytes bucket : {16 * kib, 1 * mib, 4 * mib, 16 * mib, 64 * mib}) {
        for (const int prefetch : {0, 1, 2, 4}) {
          RunConfig config = asked;
          config.sharding.zero_stage = stage;
          config.sharding.bucket_bytes = bucket;
          config.sharding.prefetch = prefetch;
          config.memory.recompute = recompute;
          // The bits stay those of stage 0.
          if (config.batch.grad_accum > 1) config.sharding.reduce_every = plan::ReduceEvery::step;
          visit(config);
        }
      }
    }
  }
}

struct Grid {
  std::vector<Outcome> outcomes;
  [[nodiscard]] const Outcome* best(Bytes limit) const {
    const Outcome* found = nullptr;
    for (const Outcome& one : outcomes) {
      const bool faster = found == nullptr || one.seconds < found->seconds;
      if (one.needs.device <= limit && faster) found = &one;
    }
    return found;
  }
};

}  // namespace

TEST_CASE(
    "the search finds what trying everything finds, with all plans and with a third of them") {
  for (const std::int64_t accum : {1, 2}) {
    const RunConfig asked = toy_run(3, 4, accum);
    const launch::Job job = toy_job();
    for (const double net : {1e7, 1e9}) {
      Grid grid;
      for_each_of_grid(asked, [&](const RunConfig& config) {
        grid.outcomes.push_back(plan_of(config, machine(net)));
      });
      std::vector<Bytes> needs;
      for (const Outcome& one : grid.outcomes) needs.push_back(one.needs.device);
      std::sort(needs.begin(), needs.end());
      for (std::size_t at = 0; at < needs.size(); at += 41) {
        const Outcome* best = grid.best(needs[at]);
        REQUIRE(best != nullptr);
        for (const std::size_t most_plans : {std::size_t{1000}, std::size_t{80}}) {
          SearchOptions options{machine(net), {needs[at], plenty, 0}, 3, placements};
          options.most_plans = most_plans;
          const SearchResult made = launch::search(resolved(asked), job, options);
          INFO(fmt::format("accum {} net {} limit {} plans {} of {}", accum, net, needs[at],
                           made.planned, made.combinations));
          CHECK(made.combinations == 4 * 3 * 5 * 4);
          CHECK(made.planned <= most_plans);
          REQUIRE(made.any_fits());
          CHECK(made.found[0].seconds == doctest::Approx(best->seconds));
          CHECK(made.found[0].needs.device <= needs[at]);
        }
      }
    }
  }
}

namespace {

// Placements, their fraction and recompute, with all else given.
const std::vector<std::string> not_placements = {"zero_stage",     "bucket_bytes",  "prefetch",
                                                 "offload_master", "offload_grads", "update_on"};

template <class Visit>
void for_each_placement(const RunConfig& asked, Visit&& visit) {
  const auto places = {plan::Offload::none, plan::Offload::host, plan::Offload::file};
  for (const plan::Offload optimizer : places) {
    for (const plan::Offload params : places) {
      for (int parks = 0; parks < 2; ++parks) {
        for (const double fraction : {1.0, 0.75, 0.5, 0.25}) {
          for (int recompute = 0; recompute < 3; ++recompute) {
            RunConfig config = asked;
            config.memory.offload_optimizer = optimizer;
            config.memory.offload_params = params;
            config.memory.offload_activations = static_cast<plan::OffloadActivations>(parks);
            config.memory.offload_fraction = fraction;
            config.memory.recompute = static_cast<plan::Recompute>(recompute);
            visit(config);
          }
        }
      }
    }
  }
}

}  // namespace

TEST_CASE("the search places states as trying every placement would, with fewer plans too") {
  RunConfig asked = toy_run(2, 4, 2);
  asked.precision.precision = optim::Precision::bf16;
  asked.sharding.zero_stage = 1;
  asked.memory.offload_tile = 1024;
  asked.memory.fit = true;
  asked.file_tier.offload_dir = "somewhere";
  plan::Machine rates = machine(1e9);
  rates.host_bandwidth = 2e8;
  rates.host_update_bandwidth = 4e8;
  rates.disk_bandwidth = 5e7;
  std::vector<Outcome> outcomes;
  for_each_placement(asked, [&](const RunConfig& c) { outcomes.push_back(plan_of(c, rates)); });
  std::vector<Bytes> device, host;
  for (const Outcome& one : outcomes) {
    device.push_back(one.needs.device);
    host.push_back(one.needs.host);
  }
  std::sort(device.begin(), device.end());
  std::sort(host.begin(), host.end());
  const launch::Job job = toy_job();
  std::size_t moved = 0;
  for (std::size_t d = 0; d < device.size(); d += 61) {
    for (const Bytes most_host : {host[0], host[host.size() / 3], host.back()}) {
      const launch::Limits limits{device[d], most_host, plenty};
      double best = std::numeric_limits<double>::infinity();
      for (const Outcome& one : outcomes)
        if (launch::within(one.needs, limits)) best = std::min(best, one.seconds);
      for (const std::size_t most_plans : {std::size_t{1000}, std::size_t{110}}) {
        SearchOptions options{rates, limits, 2, not_placements};
        options.most_plans = most_plans;
        const SearchResult made = launch::search(resolved(asked), job, options);
        INFO(fmt::format("device {} host {} plans {} of {}", limits.device, limits.host,
                         made.planned, made.combinations));
        CHECK(made.combinations == 3 * 3 * 2 * 4 * 3);
        CHECK(made.planned <= most_plans);
        CHECK(made.any_fits() == std::isfinite(best));
        if (!made.any_fits()) continue;
        CHECK(made.found[0].seconds == doctest::Approx(best));
        moved += made.found[0].needs.host > host[0] ? 1U : 0U;
      }
    }
  }
  CHECK(moved > 0);
}

TEST_CASE("what the search finds is what its flags and its config come to") {
  const RunConfig asked = toy_run(2, 4, 1);
  const launch::Job job = toy_job();
  const Outcome before = plan_of(asked, machine(1e8));
  SearchOptions options{machine(1e8), {tight(asked), plenty, 0}, 2, placements};
  const SearchResult made = launch::search(resolved(asked), job, options);
  REQUIRE(made.any_fits());
  CHECK(made.found.size() > 2);
  CHECK(made.found.size() <= 2 * options.runners_up + 1);
  CHECK(made.found[0].why.empty());
  bool passed_over = false;
  double last = 0;
  for (const Candidate& c : made.found) {
    INFO(c.flags << ": " << c.why);
    const Outcome again = plan_of(c.config, options.machine);
    CHECK(again.seconds == c.seconds);
    CHECK(again.needs == c.needs);
    CHECK(again.key == before.key);
    CHECK(c.fits() == launch::within(c.needs, options.limits));
    const std::string stage = fmt::format("--zero-stage {}", c.config.sharding.zero_stage);
    CHECK((c.flags.find(stage) != std::string::npos) == (c.config.sharding.zero_stage != 0));
    if (c.fits()) {
      CHECK(c.seconds >= last);
      last = c.seconds;
      if (&c != made.found.data()) CHECK((c.why.ends_with("% slower") || c.why == "no faster"));
    } else {
      CHECK(c.seconds < made.found[0].seconds);
      CHECK(c.why.starts_with("needs "));
      CHECK(c.why.ends_with(" more on the device"));
      passed_over = true;
    }
  }
  CHECK(passed_over);
}

TEST_CASE("the numerics key stays as it was unless asked, and then the global batch does") {
  for (const int stage : {0, 3}) {
    RunConfig asked = toy_run(2, 8, 3);
    asked.sharding.zero_stage = stage;
    const launch::Job job = toy_job();
    const Outcome before = plan_of(asked, machine(1e8));
    SearchOptions options{machine(1e8), {tight(toy_run(2, 4, 1)), plenty, 0}, 2};
    for (const Candidate& c : launch::search(resolved(asked), job, options).found) {
      INFO(c.flags);
      CHECK(plan_of(c.config, options.machine).key == before.key);
    }
    options.may_change_numerics = true;
    const SearchResult other = launch::search(resolved(asked), job, options);
    REQUIRE(other.any_fits());
    bool split = false;
    for (const Candidate& c : other.found) {
      CHECK(c.config.batch.micro_batch * c.config.batch.grad_accum == 24);
      split = split || c.config.batch.micro_batch != 8;
    }
    CHECK(split);
  }
}

TEST_CASE("what was given stays") {
  RunConfig asked = toy_run(2, 4, 1);
  asked.memory.recompute = plan::Recompute::selective;
  const std::vector<std::string> given =
      launch::given_keys(asked, {"sherd", "plan", "--prefetch=1", "--zero-stage", "0", "--world"});
  const auto has = [&](const char* key) {
    return std::find(given.begin(), given.end(), key) != given.end();
  };
  for (const char* key : {"prefetch", "zero_stage", "recompute", "micro_batch", "bucket_bytes"})
    CHECK(has(key));
  for (const char* key : {"offload_optimizer", "offload_fraction", "lr", "seed"}) CHECK(!has(key));
  const launch::Job job = toy_job();
  SearchOptions options{machine(1e8), {plenty, plenty, plenty}, 2, given, true};
  for (const Candidate& c : launch::search(resolved(asked), job, options).found) {
    CHECK(c.config.sharding.zero_stage == 0);
    CHECK(c.config.sharding.prefetch == 1);
    CHECK(c.config.sharding.bucket_bytes == 16 * kib);
    CHECK(c.config.memory.recompute == plan::Recompute::selective);
    CHECK(c.config.batch.micro_batch == 4);
  }
}

TEST_CASE("where nothing fits the nearest are named with what they lack") {
  const RunConfig asked = toy_run(2, 4, 1);
  const launch::Job job = toy_job();
  SearchOptions options{machine(1e8), {1000, plenty, 0}, 2};
  const SearchResult made = launch::search(resolved(asked), job, options);
  CHECK(!made.any_fits());
  REQUIRE(!made.found.empty());
  for (const Candidate& c : made.found) {
    CHECK(c.why == fmt::format("needs {} more on the device", format_bytes(c.needs.device - 1000)));
    CHECK(c.needs.device >= made.found[0].needs.device);
  }
}

TEST_CASE("a search made twice is the same search") {
  const RunConfig asked = toy_run(2, 4, 2);
  const launch::Job job = toy_job();
  SearchOptions options{machine(1e8), {plenty, plenty, plenty}, 2};
  const SearchResult one = launch::search(resolved(asked), job, options);
  const SearchResult two = launch::search(resolved(asked), job, options);
  CHECK(one.planned == two.planned);
  REQUIRE(one.found.size() == two.found.size());
  for (std::size_t i = 0; i < one.found.size(); ++i) {
    CHECK(one.found[i].flags == two.found[i].flags);
    CHECK(one.found[i].seconds == two.found[i].seconds);
  }
}

TEST_CASE("limits are the flags', else the machine's, else what is free here") {
  RunConfig config = toy_run(2, 4, 1);
  plan::Machine m = plan::machine("cpu");
  const SearchOptions here = launch::search_options(resolved(config), m);
  CHECK(here.limits.device > 0);
  CHECK(here.limits.files == 0);  // no folder, no files
  CHECK(here.ranks_a_machine == 2);
  m.device_memory = 1000;
  m.host_memory = 2000;
  m.file_capacity = 3000;
  m.ranks = 1;
  CHECK(launch::search_options(resolved(config), m).limits ==
        launch::Limits{1000, 2000, 3000, 2000});
  CHECK(launch::search_options(resolved(config), m).ranks_a_machine == 1);
  config.memory.fit = true;  // what is in files is not said yet
  config.memory.memory_limit = 10;
  config.memory.host_memory_limit = 20;
  config.file_tier.file_limit = 30;
  CHECK(launch::search_options(resolved(config), m).limits == launch::Limits{10, 20, 30});
}

}  // namespace sherd
