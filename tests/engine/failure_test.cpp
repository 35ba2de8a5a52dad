// What all ranks learn when one of them fails, and that engines end cleanly after it.
#include <doctest/doctest.h>

#include <array>
#include <atomic>

#include "support/awkward_gpt2.hpp"
#include "support/faulty_comm.hpp"
#include "support/thread_ranks.hpp"
#include "support/torn_tokens.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

std::string text_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  }
}

launch::RunConfig config_of(plan::Overlap overlap) {
  launch::RunConfig config = awkward_config(3);
  config.sharding.zero_stage = 3;
  config.sharding.bucket_bytes = 1;
  config.sharding.overlap = overlap;
  config.batch.steps = 4;
  return config;
}

Ending end_of(const ThreadRun& run) {
  ThreadRanks ranks(run);
  return ranks.run([](ThreadRank& seat) {
    while (seat.engine.steps() < seat.prepared.steps) seat.engine.step();
    static_cast<void>(seat.engine.parameters_hash());
  });
}

}  // namespace

TEST_CASE("bad data on one rank ends all ranks with its message") {
  for (const auto overlap : {plan::Overlap::off, plan::Overlap::on}) {
    const launch::RunConfig config = config_of(overlap);
    const Ending ending = end_of({.config = config, .job = [](Rank rank) {
                                    launch::Job job = awkward_job(awkward_gpt2(), 18);
                                    if (rank == 1) job.train = std::make_unique<TornTokens>(18, 3);
                                    return job;
                                  }});
    REQUIRE(ending.thrown[1]);
    CHECK_THROWS_AS(std::rethrow_exception(ending.thrown[1]), DataError);
    CHECK(ending.cause.find("rank 1") != std::string::npos);
    for (const std::size_t peer : {0u, 2u}) {
      REQUIRE(ending.thrown[peer]);
      CHECK_THROWS_AS(std::rethrow_exception(ending.thrown[peer]), CommError);
      CHECK(text_of(ending.thrown[peer]).find("byte 42") != std::string::npos);
    }
  }
}

TEST_CASE("a rank that dies in a collective ends all others with an error that names it") {
  for (const auto overlap : {plan::Overlap::off, plan::Overlap::on}) {
    for (const int collective : {1, 4, 17}) {
      CAPTURE(static_cast<int>(overlap));
      CAPTURE(collective);
      const ThreadRun run{.config = config_of(overlap),
                          .job = [](Rank) { return awkward_job(awkward_gpt2(), 18); },
                          .wrap =
                              [collective](ThreadRun::Comm comm, const comm::ControlBlock&) {
                                return comm->rank() == 2
                                           ? support::throwing_peer(std::move(comm), collective)
                                           : std::move(comm);
                              }};
      const Ending ending = end_of(run);
      CHECK(ending.cause.find("rank 2") != std::string::npos);
      CHECK(ending.cause.find("died on purpose") != std::string::npos);
      REQUIRE(ending.thrown[2]);
      for (const std::size_t peer : {0u, 1u}) {
        REQUIRE(ending.thrown[peer]);
        CHECK_THROWS_AS(std::rethrow_exception(ending.thrown[peer]), CommError);
        CHECK(text_of(ending.thrown[peer]).find("rank 2") != std::string::npos);
      }
    }
  }
}

TEST_CASE("a communicator sees the abort before the engine of a failed rank ends") {
  for (const auto overlap : {plan::Overlap::off, plan::Overlap::on}) {
    CAPTURE(static_cast<int>(overlap));
    std::array<std::atomic<int>, 3> looks{};
    const auto before = [](Rank rank, int call) {
      if (rank == 2 && call == 4) throw std::runtime_error("died on purpose");
    };
    const auto wrap = [&](ThreadRun::Comm comm, const comm::ControlBlock& control) {
      const Rank rank = comm->rank();
      return std::make_unique<support::FaultyComm>(
          std::move(comm), [=](int call) { before(rank, call); },
          [&control, &own = looks[static_cast<std::size_t>(rank)]] {
            if (control.abort.is_set()) ++own;
            control.abort.poll();
          });
    };
    const Ending ending = end_of({.config = config_of(overlap),
                                  .job = [](Rank) { return awkward_job(awkward_gpt2(), 18); },
                                  .wrap = wrap});
    CHECK(ending.cause.find("died on purpose") != std::string::npos);
    for (const std::atomic<int>& rank : looks) CHECK(rank > 0);
  }
}

TEST_CASE("a rank that stays away from a collective ends all others with an error that names it") {
  for (const auto overlap : {plan::Overlap::off, plan::Overlap::on}) {
    CAPTURE(static_cast<int>(overlap));
    launch::RunConfig config = config_of(overlap);
    config.ranks.timeout = 2;
    const Ending ending =
        end_of({.config = config,
                .job = [](Rank) { return awkward_job(awkward_gpt2(), 18); },
                .wrap =
                    [](ThreadRun::Comm comm, const comm::ControlBlock& control) {
                      return comm->rank() == 1 ? support::hanging_peer(std::move(comm), 7, control)
                                               : std::move(comm);
                    }});
    CHECK(ending.cause.find("rank 1") != std::string::npos);
    for (const std::exception_ptr& error : ending.thrown) {
      REQUIRE(error);
      CHECK_THROWS_AS(std::rethrow_exception(error), CommError);
      CHECK(text_of(error).find("rank 1") != std::string::npos);
    }
  }
}
