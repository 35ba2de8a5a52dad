#include <doctest/doctest.h>

#include "sherd/base/errors.hpp"
#include "sherd/device/lane.hpp"

using namespace sherd;
using device::LaneWorker;
using device::Progress;

TEST_CASE("Waiting for a finished ticket returns at once, even in an aborted run") {
  AbortWord abort{};
  Progress progress;
  progress.block(0, abort);
  progress.finish(3);
  abort.set(5, "rank 1 died");
  progress.block(2, abort);
  progress.block(3, abort);
  CHECK(progress.done() == 3);
}

TEST_CASE("Waiting for a ticket sees everything its task wrote") {
  AbortWord abort{};
  Progress progress;
  std::vector<std::uint64_t> written(2001);
  LaneWorker lane(
      "net",
      [&](std::uint32_t step, std::uint64_t ticket) {
        written[step] = ticket;  // not atomic: block must order it
        progress.finish(ticket);
      },
      abort);
  for (std::uint32_t step = 1; step <= 2000; ++step) {
    lane.push(step, step);
    if (step % 3 != 0) continue;
    progress.block(step, abort);
    REQUIRE(written[step] == step);
    REQUIRE(written[step - 1] == step - 1);
  }
}

TEST_CASE("An abort ends every wait with its cause") {
  AbortWord abort{};
  Progress progress;
  std::atomic<int> woken{0};
  std::vector<std::thread> waiters;
  for (int i = 0; i < 3; ++i) {
    waiters.emplace_back([&] {
      try {
        progress.block(1, abort);
      } catch (const CommError& error) {
        if (std::string(error.what()) == "rank 1 died") ++woken;
      }
    });
  }
  abort.set(5, "rank 1 died");
  for (std::thread& waiter : waiters) waiter.join();
  CHECK(woken == 3);
}

TEST_CASE("Two lanes that wait for each other in turn make progress") {
  AbortWord abort{};
  Progress ping, pong;
  std::uint64_t turns = 0;
  {
    LaneWorker a(
        "up",
        [&](std::uint32_t, std::uint64_t ticket) {
          pong.block(ticket - 1, abort);
          ++turns;
          ping.finish(ticket);
        },
        abort);
    LaneWorker b(
        "down",
        [&](std::uint32_t, std::uint64_t ticket) {
          ping.block(ticket, abort);
          ++turns;
          pong.finish(ticket);
        },
        abort);
    for (std::uint64_t ticket = 1; ticket <= 1500; ++ticket) {
      a.push(0, ticket);
      b.push(0, ticket);
    }
  }
  CHECK(turns == 3000);
  CHECK(pong.done() == 1500);
}
