// What an engine on a device does while the host waits, and how it ends when a rank fails.
#include <doctest/doctest.h>

#include "support/awkward_gpt2.hpp"
#include "support/device_under_test.hpp"
#include "support/faulty_comm.hpp"
#include "support/impatient_driver.hpp"
#include "support/thread_ranks.hpp"
#include "support/torn_tokens.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

using support::FaultyComm;

std::string text_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  }
}

launch::RunConfig config_of(int world) {
  launch::RunConfig config = awkward_config(world);
  config.sharding.zero_stage = world > 1 ? 3 : 0;
  config.sharding.bucket_bytes = 1;
  config.batch.grad_accum = 3;
  config.batch.steps = 4;
  return config;
}

ThreadRun run_of(const launch::RunConfig& config) {
  ThreadRun run{.config = config, .job = [](Rank) { return awkward_job(awkward_gpt2(), 99); }};
  run.device_library = device_library;
  return run;
}

Ending end_of(const ThreadRun& run) {
  ThreadRanks ranks(run);
  return ranks.run([](ThreadRank& seat) {
    while (seat.engine.steps() < seat.prepared.steps) seat.engine.step();
    static_cast<void>(seat.engine.parameters_hash());
  });
}

/// All ranks failed, the one to blame with its own error, and all know why.
template <class Own>
void check_end(const Ending& ending, std::size_t blamed, const std::string& words) {
  for (std::size_t rank = 0; rank < ending.thrown.size(); ++rank) {
    CAPTURE(rank);
    REQUIRE(ending.thrown[rank]);
    CHECK(text_of(ending.thrown[rank]).find(words) != std::string::npos);
    if (rank == blamed) {
      CHECK_THROWS_AS(std::rethrow_exception(ending.thrown[rank]), Own);
    } else {
      CHECK_THROWS_AS(std::rethrow_exception(ending.thrown[rank]), CommError);
    }
  }
}

}  // namespace

TEST_CASE("the communicator is watched whenever the host waits for the device") {
  SHERD_NEEDS_DEVICE();
  for (const bool traced : {false, true}) {
    CAPTURE(traced);
    Polls polls;
    ThreadRun run = run_of(config_of(1));
    run.traced = traced;
    run.adjust_device = [&](device::OpenDevice& device) { make_impatient(device, polls); };
    run.wrap = [&](ThreadRun::Comm comm, const comm::ControlBlock&) {
      return std::make_unique<FaultyComm>(
          std::move(comm), [](int) {}, [&] { polls.watched(); });
    };
    ThreadRanks ranks(run);
    rethrow(ranks.run([&](ThreadRank& seat) {
      polls.start();
      while (seat.engine.steps() < seat.prepared.steps) seat.engine.step();
      static_cast<void>(seat.engine.parameters_hash());
      polls.stop();
    }));
    CHECK(polls.waits > 0);
    CHECK(polls.unwatched == 0);
  }
}

TEST_CASE("bad data on one rank ends all ranks on a device with its message") {
  SHERD_NEEDS_DEVICE();
  ThreadRun run = run_of(config_of(3));
  run.job = [](Rank rank) {
    launch::Job job = awkward_job(awkward_gpt2(), 99);
    if (rank == 1) job.train = std::make_unique<TornTokens>(99, 9);
    return job;
  };
  check_end<DataError>(end_of(run), 1, "byte 42");
}

TEST_CASE("a rank that dies in a collective ends all others on a device") {
  SHERD_NEEDS_DEVICE();
  for (const int collective : {1, 4, 40}) {
    CAPTURE(collective);
    ThreadRun run = run_of(config_of(3));
    run.wrap = [&](ThreadRun::Comm comm, const comm::ControlBlock&) {
      return comm->rank() == 2 ? support::throwing_peer(std::move(comm), collective)
                               : std::move(comm);
    };
    check_end<std::runtime_error>(end_of(run), 2, "died on purpose");
  }
}

TEST_CASE("a rank that stays away from a collective ends all ranks on a device") {
  SHERD_NEEDS_DEVICE();
  launch::RunConfig config = config_of(3);
  config.ranks.timeout = 2;
  ThreadRun run = run_of(config);
  run.wrap = [](ThreadRun::Comm comm, const comm::ControlBlock& control) {
    return comm->rank() == 1 ? support::hanging_peer(std::move(comm), 7, control) : std::move(comm);
  };
  check_end<CommError>(end_of(run), 1, "rank 1");
}
