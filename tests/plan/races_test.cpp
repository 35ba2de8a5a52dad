// The judge over many plans, and the judge judged.
#include <doctest/doctest.h>

#include <map>
#include <set>

#include "plan/toy_model.hpp"

namespace sherd {
namespace {

std::vector<std::string> races(const plan::Scheduled& s) {
  return plan::races(s.program, s.at, s.waits);
}

}  // namespace

TEST_CASE("no plan of more than a thousand has a race") {
  std::size_t plans = 0, steps = 0, waits = 0;
  for (std::size_t number = 0; number < toy::cases; number += 1) {
    const toy::Case c = toy::numbered(number);
    INFO(toy::describe(c));
    const plan::Plan plan = plan::make_plan(toy::setup(c));
    REQUIRE(plan.setup.layout.buckets().size() >= 3);
    const std::vector<std::string> found = races(plan.train);
    REQUIRE_MESSAGE(found.empty(), found.front());
    if (plan.evaluate) REQUIRE(races(*plan.evaluate).empty());
    ++plans;
    steps += plan.train.program.steps.size();
    waits += plan.train.waits.size();
  }
  CHECK(plans >= 1000);
  MESSAGE(plans << " plans, " << steps << " steps, " << waits << " waits");
}

TEST_CASE("each single wait is needed: without it there is a race") {
  std::size_t removed = 0;
  for (std::size_t number = 1; number < toy::cases; number += 101) {
    toy::Case c = toy::numbered(number);
    c.layers = 1;
    c.world = c.world == 1 ? 2 : c.world;
    INFO(toy::describe(c));
    const plan::Plan plan = plan::make_plan(toy::setup(c));
    std::vector<const plan::Scheduled*> programs{&plan.train};
    if (plan.evaluate) programs.push_back(&*plan.evaluate);
    for (const plan::Scheduled* s : programs) {
      for (std::size_t w = 0; w < s->waits.size(); ++w) {
        std::vector<plan::Wait> fewer = s->waits;
        fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(w));
        CHECK_MESSAGE(
            !plan::races(s->program, s->at, fewer).empty(),
            s->program.name << ": step " << s->waits[w].step << " waits for " << s->waits[w].on);
        ++removed;
      }
    }
  }
  MESSAGE(removed << " waits removed");
  CHECK(removed > 500);
}

// Tied table and layers in one bucket: three uses a micro-step, of which two are joined.
TEST_CASE("no plan has a race or a third gather however blocks fall into buckets") {
  std::set<std::size_t> counts;
  for (const Bytes bucket_bytes : {Bytes{1}, 20 * kib, 60 * kib, 100 * kib, 1 * gib}) {
    for (std::size_t number = 0; number < toy::cases; number += 41) {
      toy::Case c = toy::numbered(number);
      c.bucket_bytes = bucket_bytes;
      c.layers = 3;
      INFO(toy::describe(c) << " bucket bytes " << bucket_bytes);
      const plan::Plan plan = plan::make_plan(toy::setup(c));
      counts.insert(plan.setup.layout.buckets().size());
      REQUIRE(races(plan.train).empty());
      const plan::Program& program = plan.train.program;
      for (const plan::Phase& phase : program.phases) {
        std::map<int, int> gathers;
        for (std::uint32_t i = phase.first; i < phase.last; ++i) {
          if (program.steps[i].verb == plan::Verb::gather) ++gathers[program.steps[i].subject];
        }
        for (const auto& [bucket, times] : gathers) REQUIRE(times <= 2);
      }
    }
  }
  CHECK(*counts.begin() == 1);
  CHECK(*counts.rbegin() == 5);
  CHECK(counts.size() >= 3);
}

TEST_CASE("a plan without any wait has races at every stage") {
  for (int stage = 0; stage <= 3; ++stage) {
    toy::Case c;
    c.stage = stage;
    const plan::Plan plan = plan::make_plan(toy::setup(c));
    CHECK_FALSE(plan::races(plan.train.program, plan.train.at, {}).empty());
  }
}

}  // namespace sherd
