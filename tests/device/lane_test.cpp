#include "sherd/device/lane.hpp"

#include <doctest/doctest.h>

#include <numeric>

#include "sherd/base/errors.hpp"

using namespace sherd;
using device::LaneWorker;

TEST_CASE("Lanes have the names the trace and the program listing use") {
  CHECK(device::name_of(device::Lane::compute) == "compute");
  CHECK(device::name_of(device::Lane::net) == "net");
  CHECK(device::name_of(device::Lane::down) == "down");
  CHECK(device::name_of(device::Lane::up) == "up");
  CHECK(device::name_of(device::Lane::disk) == "disk");
  CHECK(device::name_of(device::Lane::host) == "host");
}

TEST_CASE("Tasks run in the order they were pushed, more of them than the ring holds") {
  AbortWord abort{};
  std::vector<std::uint32_t> steps;
  std::vector<std::uint64_t> tickets;
  {
    LaneWorker lane(
        "net",
        [&](std::uint32_t step, std::uint64_t ticket) {
          steps.push_back(step);
          tickets.push_back(ticket);
        },
        abort);
    for (std::uint32_t step = 0; step < 10'000; ++step) lane.push(step, step + 1);
  }
  std::vector<std::uint32_t> expected(10'000);
  std::iota(expected.begin(), expected.end(), 0u);
  CHECK(steps == expected);
  for (std::size_t i = 0; i < tickets.size(); ++i) REQUIRE(tickets[i] == i + 1);
  CHECK_FALSE(abort.is_set());
}

TEST_CASE("A full ring holds the pusher until the lane has taken tasks") {
  AbortWord abort{};
  std::atomic<std::uint64_t> pushed{0}, most{0};
  std::atomic<bool> open{false};
  std::uint64_t ran = 0;
  {
    LaneWorker lane(
        "net",
        [&](std::uint32_t, std::uint64_t) {
          while (!open) std::this_thread::yield();
          most = std::max<std::uint64_t>(most, pushed - ran);
          ++ran;
        },
        abort);
    std::thread pusher([&] {
      for (std::uint64_t ticket = 1; ticket <= 5000; ++ticket) {
        lane.push(0, ticket);
        pushed = ticket;
      }
    });
    while (pushed < 1024) std::this_thread::yield();  // the first task waits, so the ring fills
    open = true;
    pusher.join();
  }
  CHECK(ran == 5000);
  CHECK(most >= 1024);
  CHECK(most <= 1025);
}

TEST_CASE("The destructor runs everything that was pushed") {
  AbortWord abort{};
  for (std::uint64_t count = 0; count < 600; ++count) {
    std::uint64_t ran = 0;
    {
      LaneWorker lane(
          "up", [&](std::uint32_t, std::uint64_t) { ++ran; }, abort);
      for (std::uint64_t ticket = 1; ticket <= count % 7; ++ticket) lane.push(0, ticket);
    }
    REQUIRE(ran == count % 7);
  }
}

TEST_CASE("The first exception sets abort with its exit code, is kept, and drops later tasks") {
  AbortWord abort{};
  std::vector<std::uint32_t> steps;
  {
    LaneWorker lane(
        "disk",
        [&](std::uint32_t step, std::uint64_t) {
          steps.push_back(step);
          if (step == 2) throw DataError("disk: got a short read, need 4096 bytes");
        },
        abort);
    for (std::uint32_t step = 0; step < 3000; ++step) lane.push(step, step + 1);
    while (!abort.is_set()) futex_wait(abort.state, 0, std::chrono::milliseconds(1));
    CHECK(lane.failed());
    for (int again = 0; again < 2; ++again)
      CHECK_THROWS_WITH_AS(lane.rethrow(), "disk: got a short read, need 4096 bytes", DataError);
  }
  CHECK(steps == std::vector<std::uint32_t>{0, 1, 2});
  CHECK(abort.cause() == "disk: got a short read, need 4096 bytes");
  CHECK(abort.code == 4);
}

TEST_CASE("A failing lane leaves an earlier cause in place") {
  AbortWord abort{};
  abort.set(5, "rank 1 died");
  {
    LaneWorker lane(
        "net", [&](std::uint32_t, std::uint64_t) { abort.poll(); }, abort);
    lane.push(0, 1);
    while (!lane.failed()) std::this_thread::yield();
    CHECK_THROWS_WITH_AS(lane.rethrow(), "rank 1 died", CommError);
  }
  CHECK(abort.cause() == "rank 1 died");
}

TEST_CASE("Something thrown that is no exception object still ends the run") {
  AbortWord abort{};
  {
    LaneWorker lane(
        "host", [](std::uint32_t, std::uint64_t) { throw 7; }, abort);
    lane.push(0, 1);
  }
  CHECK(abort.is_set());
  CHECK(abort.code == 1);
}

TEST_CASE("A lane without failure has nothing to rethrow") {
  AbortWord abort{};
  LaneWorker lane(
      "a name longer than the system allows", [](std::uint32_t, std::uint64_t) {}, abort);
  lane.push(0, 1);
  CHECK_NOTHROW(lane.rethrow());
}
