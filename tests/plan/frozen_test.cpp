// Plans of networks with parameters that are not trained: no state but the parameters themselves.
#include <doctest/doctest.h>

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

}  // namespace

TEST_CASE("no plan with frozen parameters has a race, here or on other tiers") {
  for (std::size_t number = 0; number < 160; ++number) {
    toy::Case c = number % 2 == 0 ? toy::numbered(number * 37) : toy::offloaded(number);
    c.frozen = patterns[number / 2 % std::size(patterns)];
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
