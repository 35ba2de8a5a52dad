// Plans of networks with parameters that are not trained: no state but the parameters themselves.
#include <doctest/doctest.h>

#include <map>
#include <set>

#include "plan/toy_model.hpp"

namespace sherd {
namespace {

using plan::Use;
using plan::Verb;

const std::vector<std::string> patterns[] = {
    {"embed.*"}, {"*.qkv", "layer1.*"}, {"embed.*", "layer*"}, {"head.norm", "layer0.mlp.*"}};

void require_no_races(const plan::Plan& plan) {
  const auto found = plan::races(plan.train.program, plan.train.at, plan.train.waits);
  REQUIRE_MESSAGE(found.empty(), found.front());
  if (plan.evaluate)
    REQUIRE(plan::races(plan.evaluate->program, plan.evaluate->at, plan.evaluate->waits).empty());
}

bool is_state(const plan::Buffer& buffer) {
  return buffer.use == Use::grads || buffer.use == Use::optimizer;
}

std::uint64_t elements(const plan::Plan& plan, bool trained) {
  std::uint64_t all = 0;
  for (const shard::Bucket& bucket : plan.setup.layout.buckets())
    all += bucket.trainable == trained ? bucket.numel : 0;
  return all;
}

/// Bytes alive on the device while each step runs, persistent ones among them.
std::vector<Bytes> live_bytes(const plan::Scheduled& scheduled) {
  std::vector<Bytes> live(scheduled.program.steps.size(), 0);
  for (std::size_t b = 0; b < scheduled.program.buffers.size(); ++b) {
    const plan::Buffer& buffer = scheduled.program.buffers[b];
    if (buffer.tier != plan::Tier::device || scheduled.at[b].born == ~std::uint32_t{0}) continue;
    for (std::uint32_t i = scheduled.at[b].born; i <= scheduled.at[b].dies; ++i)
      live[i] += buffer.size;
  }
  return live;
}

/// Frozen buckets of which a block reads parameters.
std::set<std::size_t> frozen_of(const plan::Setup& setup, const plan::Step& step) {
  std::set<std::size_t> buckets;
  for (const plan::Access& access : step.accesses) {
    if (access.role != plan::Role::param) continue;
    const std::size_t param = setup.model.blocks[step.subject].params[access.index];
    const std::size_t bucket = setup.layout.slots()[param].bucket;
    if (!setup.trains(bucket)) buckets.insert(bucket);
  }
  return buckets;
}

}  // namespace

TEST_CASE("no plan with frozen parameters has a race, here or on other tiers") {
  for (std::size_t number = 0; number < 160; ++number) {
    toy::Case c = number % 2 == 0 ? toy::numbered(number * 37) : toy::offloaded(number);
    c.frozen = patterns[number / 2 % std::size(patterns)];
    if (number % 3 > 0) c.frozen_dtype = optim::FrozenDType::int8;
    INFO(number << ": " << toy::describe(c));
    require_no_races(plan::make_plan(toy::setup(c)));
  }
}

TEST_CASE("what is frozen has no gradient, no optimizer state, no reduce and no update") {
  for (const auto& frozen : patterns) {
    for (int stage = 0; stage < 4; ++stage) {
      toy::Case c;
      c.stage = stage;
      c.precision = optim::Precision::bf16;
      c.frozen = frozen;
      const plan::Plan plan = plan::make_plan(toy::setup(c));
      const shard::Layout& layout = plan.setup.layout;
      std::uint64_t trained = 0, all = 0;
      for (const shard::Bucket& bucket : layout.buckets()) {
        all += bucket.numel;
        trained += bucket.trainable ? bucket.numel : 0;
      }
      REQUIRE(trained < all);
      REQUIRE(trained > 0);
      const std::uint64_t share = stage >= 1 ? 2 : 1;
      const plan::ByUse held = plan::persistent_bytes(plan.train.program, plan::Tier::device);
      CHECK(held[static_cast<std::size_t>(Use::optimizer)] == 12 * trained / share);
      CHECK(held[static_cast<std::size_t>(Use::grads)] == 4 * trained / (stage >= 2 ? 2 : 1));
      CHECK(held[static_cast<std::size_t>(Use::params)] == 2 * all / (stage == 3 ? 2 : 1));
      for (const plan::Buffer& buffer : plan.train.program.buffers) {
        const std::size_t at = buffer.name.find('[');
        if (is_state(buffer) && at != std::string::npos)
          CHECK(layout.buckets()[std::stoul(buffer.name.substr(at + 1))].trainable);
      }
      for (const plan::Step& step : plan.train.program.steps) {
        const bool trains =
            step.verb == Verb::reduce || step.verb == Verb::norm || step.verb == Verb::update;
        if (trains) CHECK(layout.buckets()[step.subject].trainable);
        // A stage that shards no parameters has nothing to fetch where nothing changes.
        if (step.verb == Verb::gather && stage < 3) CHECK(layout.buckets()[step.subject].trainable);
      }
    }
  }
}

TEST_CASE("8-bit blocks take 260 bytes for 256 frozen elements, stored and gathered") {
  for (const auto& frozen : patterns) {
    for (int world = 1; world < 4; ++world) {
      for (int stage = 0; stage < 4; ++stage) {
        toy::Case c;
        c.world = world;
        c.stage = stage;
        c.tied = false;  // so that each bucket is gathered at most twice
        c.precision = optim::Precision::bf16;
        c.frozen = frozen;
        c.frozen_dtype = optim::FrozenDType::int8;
        INFO(toy::describe(c));
        const plan::Plan plan = plan::make_plan(toy::setup(c));
        const auto n = static_cast<std::uint64_t>(world);
        const std::uint64_t trained = elements(plan, true), packed = elements(plan, false);
        const plan::ByUse held = plan::persistent_bytes(plan.train.program);
        const Bytes all = 2 * trained + packed / 256 * 260;
        CHECK(held[static_cast<std::size_t>(Use::params)] == all / (stage == 3 ? n : 1));
        Bytes gathered = 0, widened = 0;
        std::map<std::size_t, int> times;
        for (const plan::Step& step : plan.train.program.steps) {
          if (step.verb != Verb::gather && step.verb != Verb::widen) continue;
          const shard::Bucket& bucket = plan.setup.layout.buckets()[step.subject];
          if (bucket.trainable) continue;
          const plan::Access& full = step.accesses.back();
          if (step.verb == Verb::gather) {
            CHECK(full.size == bucket.numel / 256 * 260);
            gathered += full.size;
          } else {
            CHECK(step.lane == plan::Lane::compute);
            CHECK(step.accesses.front().size == bucket.numel / 256 * 260);
            CHECK(full.size == 2 * bucket.numel);
            widened += step.accesses.front().size;
            CHECK(++times[step.subject] <= 2);
          }
        }
        CHECK(gathered == (world > 1 && stage == 3 ? widened : 0));
        CHECK(widened >= packed / 256 * 260);
      }
    }
  }
}

TEST_CASE("at the peak, parameters in 8 bits take their blocks and what blocks read just then") {
  for (const optim::Precision precision : {optim::Precision::fp32, optim::Precision::bf16}) {
    for (const auto& frozen : patterns) {
      toy::Case c;
      c.layers = 3;
      c.world = 1;
      c.tied = false;
      c.precision = precision;
      c.frozen = frozen;
      const plan::Plan plain = plan::make_plan(toy::setup(c));
      c.frozen_dtype = optim::FrozenDType::int8;
      const plan::Plan packed = plan::make_plan(toy::setup(c));
      const Bytes wide = precision == optim::Precision::fp32 ? 4 : 2;
      const std::uint64_t count = elements(plain, false);
      const std::vector<Bytes> live = live_bytes(plain.train);
      const std::vector<plan::Step>& steps = plain.train.program.steps;
      Bytes peak = 0;
      for (std::size_t i = 0; i < steps.size(); ++i) {
        std::set<std::size_t> used = frozen_of(plain.setup, steps[i]);
        // The last block before the loss and the first one behind it share a copy.
        if (steps[i].verb == Verb::loss) {
          const std::set<std::size_t> before = frozen_of(plain.setup, steps[i - 1]);
          for (const std::size_t b : frozen_of(plain.setup, steps[i + 1]))
            if (before.contains(b)) used.insert(b);
        }
        Bytes now = live[i] - wide * count + count / 256 * 260;
        for (const std::size_t b : used) now += wide * plain.setup.layout.buckets()[b].numel;
        peak = std::max(peak, now);
      }
      CHECK(packed.memory.live(plan::Tier::device) == peak);
      CHECK(peak <= plain.memory.live(plan::Tier::device) + count / 256 * 260);
      if (frozen == patterns[2]) CHECK(peak < plain.memory.live(plan::Tier::device));
    }
  }
}

TEST_CASE("widening keeps gathers as far ahead as without it, and moves nothing but blocks") {
  for (int prefetch = 0; prefetch < 3; ++prefetch) {
    toy::Case c;
    c.layers = 4;
    c.stage = 3;
    c.prefetch = prefetch;
    c.tied = false;
    c.frozen = {"*.qkv", "*.out", "*.up", "*.down"};
    const auto ahead = [&](optim::FrozenDType type) {
      c.frozen_dtype = type;
      const plan::Plan plan = plan::make_plan(toy::setup(c));
      const std::vector<plan::Step>& steps = plan.train.program.steps;
      std::vector<std::vector<std::uint16_t>> between;  // blocks from each gather to its first use
      for (std::size_t i = 0; i < steps.size(); ++i) {
        if (steps[i].verb != Verb::gather || plan.setup.trains(steps[i].subject)) continue;
        between.emplace_back();
        for (std::size_t k = i + 1; k < steps.size(); ++k) {
          const bool block = steps[k].verb == Verb::forward || steps[k].verb == Verb::backward;
          if (block) between.back().push_back(steps[k].subject);
          if (block && frozen_of(plan.setup, steps[k]).contains(steps[i].subject)) break;
        }
      }
      return between;
    };
    const auto plain = ahead(optim::FrozenDType::param);
    CHECK(plain.size() == 7);  // the last layer's copy serves both ways
    CHECK(ahead(optim::FrozenDType::int8) == plain);
  }
  toy::Case c;
  c.world = 1;
  c.frozen = {"layer*"};
  c.frozen_dtype = optim::FrozenDType::int8;
  c.memory.offload_params = plan::Offload::host;
  const plan::Plan plan = plan::make_plan(toy::setup(c));
  for (const plan::Step& step : plan.train.program.steps) {
    if (step.verb != Verb::fetch || plan.setup.trains(step.subject)) continue;
    CHECK(step.accesses.front().size == step.range.count / 256 * 260);
  }
}

TEST_CASE("blocks before the first trained one have no backward") {
  toy::Case c;
  c.frozen = {"embed.*", "layer0.*"};
  c.tied = false;
  const plan::Plan plan = plan::make_plan(toy::setup(c));
  std::vector<std::string> backward;
  for (const plan::Step& step : plan.train.program.steps) {
    if (step.verb == Verb::backward) backward.push_back(plan.setup.model.blocks[step.subject].name);
  }
  CHECK(backward == std::vector<std::string>{"layer1.mlp", "layer1.attention"});
}

TEST_CASE("frozen parameters come first, and blocks find all of theirs") {
  toy::Case c;
  c.frozen = {"*.out", "head.*"};
  const model::ModelSpec spec = toy::setup(c).model;
  std::vector<std::string> names;
  for (const model::ParamSpec& param : spec.params) names.push_back(param.name);
  const std::vector<std::string> first(names.begin(), names.begin() + 4);
  CHECK(first == std::vector<std::string>{"layer0.attention.out", "layer1.attention.out",
                                          "head.norm", "embed.wte"});
  CHECK(spec.parameters() - spec.trainable() == 2 * 32 * 32 + 32);
  for (const model::BlockSpec& block : spec.blocks) {
    for (const std::size_t param : block.params) {
      const std::string& name = spec.params[param].name;
      CHECK((name.starts_with(block.name + ".") || name == "embed.wte"));
      CHECK(spec.params[param].trainable == (!name.ends_with(".out") && name != "head.norm"));
    }
  }
}

}  // namespace sherd
