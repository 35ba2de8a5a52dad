// What passes promise, looked up in finished programs.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>

#include "plan/toy_model.hpp"

namespace sherd {
namespace {

using plan::Access;
using plan::Lane;
using plan::Mode;
using plan::Phase;
using plan::Program;
using plan::Role;
using plan::Step;
using plan::Verb;

bool is_micro(const Phase& phase) { return phase.name.starts_with("micro"); }

std::size_t bucket_of(const plan::Setup& setup, const Step& step, const Access& access) {
  return setup.layout.slots()[setup.model.blocks[step.subject].params[access.index]].bucket;
}

std::vector<std::uint32_t> find(const Program& program, const Phase& phase, Verb verb,
                                std::size_t subject) {
  std::vector<std::uint32_t> found;
  for (std::uint32_t i = phase.first; i < phase.last; ++i) {
    if (program.steps[i].verb == verb && program.steps[i].subject == subject) found.push_back(i);
  }
  return found;
}

// Steps of the phase with an access of `role` to the bucket, in order.
std::vector<std::uint32_t> users(const plan::Setup& setup, const Program& program,
                                 const Phase& phase, Role role, std::size_t bucket) {
  std::set<std::uint32_t> found;
  for (std::uint32_t i = phase.first; i < phase.last; ++i) {
    const Step& step = program.steps[i];
    if (step.lane != Lane::compute || step.verb == Verb::update) continue;
    for (const Access& a : step.accesses) {
      if (a.role == role && bucket_of(setup, step, a) == bucket) found.insert(i);
    }
  }
  return {found.begin(), found.end()};
}

int computes(const Program& program, std::uint32_t after, std::uint32_t before) {
  int count = 0;
  for (std::uint32_t i = after + 1; i < before; ++i)
    count += program.steps[i].lane == Lane::compute ? 1 : 0;
  return count;
}

template <class Visit>
void for_cases(std::size_t stride, Visit&& visit) {
  for (std::size_t number = 0; number < toy::cases; number += stride) {
    const toy::Case c = toy::numbered(number);
    if (c.world == 1) continue;
    INFO(toy::describe(c));
    const plan::Setup setup = toy::setup(c);
    visit(c, setup, plan::train_program(setup));
  }
}

}  // namespace

TEST_CASE("stage 3 gathers a bucket at most twice a micro-step and never for nothing") {
  for_cases(7, [](const toy::Case& c, const plan::Setup& setup, const Program& program) {
    if (c.stage != 3) return;
    for (const Phase& phase : program.phases) {
      for (std::size_t b = 0; b < setup.layout.buckets().size(); ++b) {
        const auto gathers = find(program, phase, Verb::gather, b);
        REQUIRE(gathers.size() <= (is_micro(phase) ? 2 : 0));
        for (const std::uint32_t g : gathers) {
          const plan::BufferId copy = program.steps[g].accesses.back().buffer;
          const bool used = std::any_of(
              program.steps.begin() + g + 1, program.steps.begin() + phase.last,
              [&](const Step& step) {
                return std::any_of(
                    step.accesses.begin(), step.accesses.end(),
                    [&](const Access& a) { return a.buffer == copy && a.role == Role::param; });
              });
          REQUIRE(used);
        }
      }
    }
  });
}

TEST_CASE("stages 1 and 2 gather each bucket once a step, before its first use") {
  for_cases(7, [](const toy::Case& c, const plan::Setup& setup, const Program& program) {
    if (c.stage != 1 && c.stage != 2) return;
    for (std::size_t b = 0; b < setup.layout.buckets().size(); ++b) {
      for (std::size_t p = 0; p < program.phases.size(); ++p) {
        const auto gathers = find(program, program.phases[p], Verb::gather, b);
        REQUIRE(gathers.size() == (p == 0 ? 1 : 0));
        if (p == 0)
          REQUIRE(gathers[0] < users(setup, program, program.phases[0], Role::param, b).front());
      }
    }
  });
}

TEST_CASE("a gather is issued prefetch compute steps ahead, or at its phase's start") {
  for_cases(7, [](const toy::Case& c, const plan::Setup&, const Program& program) {
    if (c.stage == 0) return;
    for (const Phase& phase : program.phases) {
      for (std::uint32_t g = phase.first; g < phase.last; ++g) {
        if (program.steps[g].verb != Verb::gather) continue;
        const plan::BufferId copy = program.steps[g].accesses.back().buffer;
        std::uint32_t use = g + 1;
        const auto takes = [&](const Step& step) {
          return std::any_of(step.accesses.begin(), step.accesses.end(), [&](const Access& a) {
            return a.buffer == copy && a.role == Role::param;
          });
        };
        while (!takes(program.steps[use])) ++use;
        const int before = computes(program, g, use);
        const int all = computes(program, phase.first, use) +
                        (program.steps[phase.first].lane == Lane::compute ? 1 : 0);
        REQUIRE(before == std::min(c.prefetch, all));
      }
    }
  });
}

TEST_CASE("a bucket is reduced once, with no compute between its last writer and the reduce") {
  for_cases(7, [](const toy::Case& c, const plan::Setup& setup, const Program& program) {
    for (const Phase& phase : program.phases) {
      const bool last = phase.name == "micro" || phase.name == "micro.last";
      const bool reduces = is_micro(phase) && (c.reduce == plan::ReduceEvery::micro || last);
      for (std::size_t b = 0; b < setup.layout.buckets().size(); ++b) {
        const auto found = find(program, phase, Verb::reduce, b);
        REQUIRE(found.size() == (reduces ? 1 : 0));
        if (!reduces) continue;
        const auto writers = users(setup, program, phase, Role::grad, b);
        REQUIRE(writers.back() < found[0]);
        REQUIRE(computes(program, writers.back(), found[0]) == 0);
        REQUIRE(program.steps[found[0]].lane == Lane::net);
        const auto norms = find(program, phase, Verb::norm, b);
        REQUIRE(norms.size() == (last ? 1 : 0));
        if (last) REQUIRE((norms[0] > found[0] && program.steps[norms[0]].lane == Lane::net));
      }
    }
  });
}

TEST_CASE("a parameter's first gradient writer starts the sum and later ones add") {
  for_cases(7, [](const toy::Case& c, const plan::Setup& setup, const Program& program) {
    std::set<std::size_t> started;
    for (const Phase& phase : program.phases) {
      if (!is_micro(phase)) continue;
      if (c.reduce == plan::ReduceEvery::micro) started.clear();
      for (std::uint32_t i = phase.first; i < phase.last; ++i) {
        const Step& step = program.steps[i];
        for (const Access& a : step.accesses) {
          if (a.role != Role::grad || step.verb == Verb::norm) continue;
          const std::size_t param = setup.model.blocks[step.subject].params[a.index];
          REQUIRE(a.mode == (started.insert(param).second ? Mode::write : Mode::update));
        }
      }
    }
    REQUIRE(started.size() == setup.model.params.size());
  });
}

TEST_CASE("an embedding's backward reads no parameter, so an untied table is gathered once") {
  toy::Case c;
  c.stage = 3;
  for (const bool tied : {true, false}) {
    c.tied = tied;
    const plan::Setup setup = toy::setup(c);
    const Program program = plan::train_program(setup);
    CHECK(find(program, program.phases[0], Verb::gather, 0).size() == (tied ? 2 : 1));
    for (const std::uint32_t i : find(program, program.phases[0], Verb::backward, 0)) {
      for (const Access& a : program.steps[i].accesses) CHECK(a.role != Role::param);
    }
  }
}

TEST_CASE("a block takes all of its parameter and gradient, also where that is the whole bucket") {
  Model model;
  const auto one = [](const char* name, bool first) {
    return toy::Declaration{{{name, {32, 32}}}, {}, !first, !first};
  };
  model.add<toy::Block>("embed", one("wte", true), 32);
  model.add<toy::Block>("layer0.linear", one("weight", false), 32);
  model.end<toy::Head>(false, 65, 32);
  plan::ShardingConfig sharding;
  sharding.bucket_bytes = 1;
  for (sharding.zero_stage = 0; sharding.zero_stage <= 3; ++sharding.zero_stage) {
    const plan::Setup setup =
        plan::make_setup(model::declare(model, {}, {4, 25}), sharding, {}, {}, {}, 4);
    REQUIRE(setup.layout.buckets()[1].numel == 32 * 32);
    for (const Step& step : plan::train_program(setup).steps) {
      if (step.verb == Verb::norm || step.verb == Verb::update) continue;
      for (const Access& a : step.accesses) {
        if (a.role != Role::param && a.role != Role::grad) continue;
        const shard::Slot& slot =
            setup.layout.slots()[setup.model.blocks[step.subject].params[a.index]];
        CHECK(a.first == slot.offset * 4);
        CHECK(a.size == (a.role == Role::param ? slot.numel : slot.padded) * 4);
      }
    }
  }
}

TEST_CASE("a program starts with gathers and ends with updates") {
  for_cases(7, [](const toy::Case& c, const plan::Setup&, const Program& program) {
    if (c.stage > 0 && c.prefetch > 0) REQUIRE(program.steps.front().verb == Verb::gather);
    REQUIRE(program.steps.back().verb == Verb::update);
    REQUIRE(program.phases.back().name == "update");
  });
}

TEST_CASE("recompute block runs every forward but the last again, right before its backward") {
  toy::Case c;
  c.recompute = plan::Recompute::block;
  c.layers = 3;
  const plan::Setup setup = toy::setup(c);
  const Program program = plan::train_program(setup);
  const std::size_t last = setup.model.blocks.size() - 2;
  for (std::size_t b = 1; b <= last; ++b) {
    const auto forwards = find(program, program.phases[0], Verb::forward, b);
    const auto backward = find(program, program.phases[0], Verb::backward, b).front();
    REQUIRE(forwards.size() == (b == last ? 1 : 2));
    if (b == last) continue;
    CHECK(computes(program, forwards[1], backward) == 0);
    std::set<plan::BufferId> rebuilt, read;
    for (const Access& a : program.steps[forwards[1]].accesses) {
      if (a.role == Role::save) rebuilt.insert(a.buffer);
    }
    for (const Access& a : program.steps[backward].accesses) {
      if (a.role == Role::save) read.insert(a.buffer);
    }
    CHECK(read == rebuilt);
  }
}

TEST_CASE("recompute selective loses cheap saves only") {
  toy::Case c;
  c.recompute = plan::Recompute::selective;
  const plan::Setup setup = toy::setup(c);
  const Program program = plan::train_program(setup);
  int lost = 0;
  for (const Step& step : program.steps) {
    if (step.verb != Verb::backward) continue;
    for (const Access& a : step.accesses) {
      if (a.role != Role::save) continue;
      const bool cheap = setup.model.blocks[step.subject].saves[a.index].keep == Keep::cheap;
      CHECK(a.mode == (cheap ? Mode::write : Mode::read));
      lost += cheap ? 1 : 0;
    }
  }
  CHECK(lost == 4);
}

TEST_CASE("recompute lowers live bytes, none to selective to block") {
  toy::Case c;
  c.layers = 6;
  Bytes before = ~Bytes{0};
  for (const auto recompute :
       {plan::Recompute::none, plan::Recompute::selective, plan::Recompute::block}) {
    c.recompute = recompute;
    const Bytes live = plan::make_plan(toy::setup(c)).memory.live(plan::Tier::device);
    CHECK(live < before);
    before = live;
  }
}

TEST_CASE("an evaluation has no gradient, no update and no optimizer state") {
  toy::Case c;
  c.eval_batches = 3;
  for (c.stage = 0; c.stage <= 3; ++c.stage) {
    const Program program = plan::evaluate_program(toy::setup(c));
    for (const Step& step : program.steps) {
      CHECK((step.verb != Verb::backward && step.verb != Verb::reduce && step.verb != Verb::norm &&
             step.verb != Verb::update));
    }
    for (const plan::Buffer& buffer : program.buffers)
      CHECK((buffer.use != plan::Use::grads && buffer.use != plan::Use::optimizer));
  }
}

TEST_CASE("updates cover each owned element once, in tiles") {
  toy::Case c;
  c.precision = optim::Precision::bf16;
  for (c.stage = 0; c.stage <= 3; ++c.stage) {
    plan::Setup setup = toy::setup(c);
    setup.rank = 1;
    const Program program = plan::train_program(setup);
    std::map<std::size_t, Bytes> stored;
    for (const Step& step : program.steps) {
      if (step.verb != Verb::update) continue;
      for (const Access& a : step.accesses) {
        if (a.role != Role::stored) continue;
        const bool slice = c.stage == 1 || c.stage == 2;
        CHECK(a.first == (slice ? program.at(a.buffer).size / 2 : 0));
        stored[step.subject] += a.size;
      }
    }
    for (std::size_t b = 0; b < setup.layout.buckets().size(); ++b)
      CHECK(stored[b] == setup.layout.buckets()[b].numel * 2 / (c.stage == 0 ? 1 : 2));
  }
}

}  // namespace sherd
