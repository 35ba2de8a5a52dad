// The random bits that a block is given.
#include <doctest/doctest.h>

#include <set>

#include "engine/toy_job.hpp"
#include "support/awkward_gpt2.hpp"
#include "support/thread_ranks.hpp"

using namespace sherd;
using namespace sherd::test;

TEST_CASE("a block has new random bits at every step if it says that it draws, else the same") {
  using Bits = std::set<std::pair<std::uint64_t, std::uint64_t>>;
  Bits undeclared, declared;
  int calls = 0;
  launch::RunConfig config = awkward_config(1);
  config.batch.steps = 4;
  config.batch.grad_accum = 3;
  const ThreadRun run{.config = config, .job = [&](Rank) {
                        return toy_job(
                            [&](const Forward& f) {
                              undeclared.insert({f.rng.key, f.rng.stream});
                              ++calls;
                            },
                            [&](const Forward& f) {
                              declared.insert({f.rng.key, f.rng.stream});
                            });
                      }};
  ThreadRanks ranks(run);
  CHECK(train(ranks).front().steps.size() == 4);
  CHECK(calls >= 12);
  CHECK(undeclared.size() == 1);
  CHECK(declared.size() == 12);  // one a leaf
}
