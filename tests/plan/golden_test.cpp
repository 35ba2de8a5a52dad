// Plans as text, compared with committed files. After a change that is meant:
//   SHERD_UPDATE_GOLDEN=1 ctest --preset release -R plan.golden
// and read the difference.
#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "plan/toy_model.hpp"

namespace sherd {
namespace {

void compare(const std::string& name, const std::string& text) {
  const std::string path = std::string(SHERD_PLAN_GOLDEN) + "/" + name + ".txt";
  if (std::getenv("SHERD_UPDATE_GOLDEN") != nullptr) {
    std::ofstream(path) << text;
    return;
  }
  std::ifstream file(path);
  REQUIRE_MESSAGE(file, "no file " << path);
  std::istringstream now(text);
  std::string want, got;
  for (int line = 1; std::getline(file, want); ++line) {
    REQUIRE_MESSAGE(std::getline(now, got), path << " has more lines than the plan");
    REQUIRE_MESSAGE(got == want, path << ":" << line << "\nwant " << want << "\ngot  " << got);
  }
  CHECK_FALSE_MESSAGE(static_cast<bool>(std::getline(now, got)),
                      "the plan has more lines than " << path);
}

}  // namespace

TEST_CASE("a two-layer model's step at each stage is the committed listing") {
  for (int stage = 0; stage <= 3; ++stage) {
    toy::Case c;
    c.stage = stage;
    compare("stage" + std::to_string(stage), listing(plan::make_plan(toy::setup(c)).train));
  }
}

TEST_CASE(
    "stage 3 with accumulation and recompute, and its evaluation, are the committed listing") {
  toy::Case c;
  c.stage = 3;
  c.accum = 4;
  c.reduce = plan::ReduceEvery::micro;
  c.recompute = plan::Recompute::block;
  c.eval_batches = 3;
  const plan::Plan plan = plan::make_plan(toy::setup(c));
  compare("stage3_accum4_recompute", listing(plan.train));
  REQUIRE(plan.evaluate);
  compare("stage3_evaluate", listing(*plan.evaluate));
}

TEST_CASE("frozen layers in 8 bits, on one rank and sharded, are the committed listing") {
  toy::Case c;
  c.frozen = {"layer*.qkv", "*.up"};
  c.frozen_dtype = optim::FrozenDType::int8;
  for (const int stage : {0, 3}) {
    c.stage = stage;
    compare("frozen8_stage" + std::to_string(stage), listing(plan::make_plan(toy::setup(c)).train));
  }
}

TEST_CASE(
    "an optimizer in files, parameters and gradients on the host, are the committed listing") {
  toy::Case c;
  c.layers = 1;
  c.stage = 3;
  c.precision = optim::Precision::bf16;
  c.memory.offload_optimizer = plan::Offload::file;
  c.memory.offload_params = plan::Offload::host;
  c.memory.offload_grads = plan::OffloadOr::host;
  compare("stage3_tiers", listing(plan::make_plan(toy::setup(c)).train));
}

TEST_CASE("a world of one is planned as stage 0 whatever the stage") {
  toy::Case c;
  c.world = 1;
  const std::string resident = listing(plan::make_plan(toy::setup(c)).train);
  compare("world1", resident);
  for (c.stage = 1; c.stage <= 3; ++c.stage)
    CHECK(listing(plan::make_plan(toy::setup(c)).train) == resident);
}

}  // namespace sherd
