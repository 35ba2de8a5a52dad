#include "sherd/device/workers.hpp"

#include <doctest/doctest.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <numeric>
#include <stdexcept>

#include "sherd/base/errors.hpp"

using namespace sherd;
using device::Workers;

TEST_CASE("Every index runs exactly once for any count and number of threads") {
  for (const int threads : {1, 2, 3, 4, 7}) {
    Workers workers(threads);
    CHECK(workers.threads() == threads);
    for (const std::int64_t count : {0, 1, 2, 3, 7, 64, 1000}) {
      for (int round = 0; round < 20; ++round) {
        // Plain ints: a second visit or a missing hand-over is a race the thread sanitizer sees.
        std::vector<int> visits(static_cast<std::size_t>(count));
        workers.run(count,
                    [&](std::int64_t index, int) { ++visits[static_cast<std::size_t>(index)]; });
        REQUIRE(std::count(visits.begin(), visits.end(), 1) == count);
      }
    }
  }
}

TEST_CASE(
    "A pinned helper runs on its core and nowhere else, and a core that is not there is an error") {
  cpu_set_t all;
  CPU_ZERO(&all);
  REQUIRE(sched_getaffinity(0, sizeof all, &all) == 0);
  int last = CPU_SETSIZE - 1;
  while (!CPU_ISSET(static_cast<std::size_t>(last), &all)) --last;
  Workers workers(3, std::array{last});
  std::array<std::atomic<int>, 3> elsewhere{};
  for (int round = 0; round < 20; ++round) {
    workers.run(300, [&](std::int64_t, int worker) {
      if (worker > 0 && sched_getcpu() != last) ++elsewhere.at(static_cast<std::size_t>(worker));
    });
  }
  CHECK(elsewhere[1] == 0);
  CHECK(elsewhere[2] == 0);
  CHECK_THROWS_AS(Workers(2, std::array{CPU_SETSIZE - 1}), DeviceError);
}

TEST_CASE("A worker number is in range and never used by two tasks at a time") {
  Workers workers(4);
  std::vector<std::int64_t> scratch(4);
  for (int round = 0; round < 50; ++round)
    workers.run(200,
                [&](std::int64_t, int worker) { ++scratch.at(static_cast<std::size_t>(worker)); });
  CHECK(std::accumulate(scratch.begin(), scratch.end(), std::int64_t{0}) == 50 * 200);
}

TEST_CASE("Runs in close succession each see their own task") {
  Workers workers(3);
  for (std::int64_t round = 1; round < 3000; ++round) {
    std::array<std::int64_t, 5> parts{};  // gone after this round: a late helper would write to it
    const std::int64_t count = 1 + round % 5;
    workers.run(count, [&parts, round](std::int64_t index, int) {
      parts[static_cast<std::size_t>(index)] = round;
    });
    REQUIRE(std::count(parts.begin(), parts.end(), round) == count);
  }
}

TEST_CASE("Bits do not depend on the number of threads") {
  constexpr std::size_t tiles = 37, width = 1000;
  std::vector<float> first;
  for (const int threads : {1, 2, 5}) {
    Workers workers(threads);
    std::vector<float> sums(tiles);
    workers.run(tiles, [&](std::int64_t tile, int) {
      float sum = 0;
      for (std::size_t i = 0; i < width; ++i)
        sum += 1.0f / static_cast<float>(static_cast<std::size_t>(tile) * width + i + 1);
      sums[static_cast<std::size_t>(tile)] = sum;
    });
    if (first.empty()) first = sums;
    CHECK(std::memcmp(first.data(), sums.data(), tiles * sizeof(float)) == 0);
  }
}

TEST_CASE("An exception is rethrown after every other task has run") {
  for (const int threads : {1, 2, 4}) {
    Workers workers(threads);
    for (const std::int64_t count : {1, 2, 100}) {
      std::vector<int> visits(static_cast<std::size_t>(count));
      const auto task = [&](std::int64_t index, int) {
        ++visits[static_cast<std::size_t>(index)];
        if (index == count / 2) throw std::runtime_error("task failed");
      };
      CHECK_THROWS_WITH_AS(workers.run(count, task), "task failed", std::runtime_error);
      CHECK(std::count(visits.begin(), visits.end(), 1) == count);
      std::vector<int> again(50);
      workers.run(50, [&](std::int64_t index, int) { ++again[static_cast<std::size_t>(index)]; });
      CHECK(std::count(again.begin(), again.end(), 1) == 50);
    }
  }
}

TEST_CASE("When all tasks fail one exception comes out") {
  Workers workers(4);
  CHECK_THROWS_AS(workers.run(100, [](std::int64_t, int) { throw DataError("bad"); }), DataError);
  CHECK_NOTHROW(workers.run(100, [](std::int64_t, int) {}));
}

TEST_CASE("A run of nothing calls nothing") {
  Workers workers(2);
  workers.run(0, [](std::int64_t, int) { FAIL("called"); });
  workers.run(-3, [](std::int64_t, int) { FAIL("called"); });
}

TEST_CASE("Numbers of threads out of range are refused") {
  CHECK_THROWS_AS(Workers(0), UsageError);
  CHECK_THROWS_AS(Workers(-1), UsageError);
  CHECK_THROWS_AS(Workers(1025), UsageError);
}

TEST_CASE("Workers that never ran end at once") {
  for (int round = 0; round < 50; ++round) Workers workers(3);
}
