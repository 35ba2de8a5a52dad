#include "sherd/base/abort.hpp"

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <thread>
#include <vector>

#include "sherd/base/errors.hpp"

using namespace sherd;
using namespace std::chrono_literals;

TEST_CASE("A word nobody set is silent") {
  const AbortWord word{};
  CHECK_FALSE(word.is_set());
  CHECK(word.cause().empty());
  CHECK_NOTHROW(word.poll());
}

TEST_CASE("The first cause wins and every poll repeats it") {
  AbortWord word{};
  CHECK(word.set(5, "rank 2 died in gather"));
  CHECK_FALSE(word.set(1, "something later"));
  CHECK(word.code == 5);
  CHECK(word.cause() == "rank 2 died in gather");
  for (int again = 0; again < 2; ++again)
    CHECK_THROWS_WITH_AS(word.poll(), "rank 2 died in gather", CommError);
}

TEST_CASE("A cause longer than the word is cut, not overrun") {
  AbortWord word{};
  CHECK(word.set(5, std::string(5000, 'x')));
  CHECK(word.cause() == std::string(word.text.size() - 1, 'x'));
}

TEST_CASE("One of many simultaneous causes wins whole") {
  for (int round = 0; round < 50; ++round) {
    AbortWord word{};
    std::atomic<int> winners{0}, winner{-1};
    std::vector<std::thread> threads;
    for (int rank = 0; rank < 6; ++rank) {
      threads.emplace_back([&, rank] {
        if (word.set(rank, std::string(static_cast<std::size_t>(100 + rank), char('a' + rank)))) {
          winners.fetch_add(1);
          winner = rank;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    const int rank = winner;
    REQUIRE(winners == 1);
    REQUIRE(word.code == rank);
    REQUIRE(word.cause() == std::string(static_cast<std::size_t>(100 + rank), char('a' + rank)));
  }
}

TEST_CASE("Setting the word wakes every sleeper") {
  AbortWord word{};
  std::vector<std::thread> sleepers;
  for (int i = 0; i < 4; ++i) {
    sleepers.emplace_back([&] {
      while (!word.is_set()) futex_wait(word.state, 0, 1h);  // only a wake-up ends this
    });
  }
  word.set(5, "cause");
  for (std::thread& sleeper : sleepers) sleeper.join();
  CHECK(word.is_set());
}

TEST_CASE("A wait ends by itself when its slice is over or the word has changed") {
  std::atomic<std::uint32_t> word{3};
  futex_wait(word, 3, 1ms);
  futex_wait(word, 2, 1h);  // already changed
  futex_wait(word, 3, -1s);
  CHECK(word == 3);
}

TEST_CASE("A cause set in one process is seen in another") {
  void* memory =
      mmap(nullptr, sizeof(AbortWord), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  auto* word = static_cast<AbortWord*>(memory);  // zeroed memory is a valid word
  const pid_t child = fork();
  if (child == 0) {
    word->set(6, "diverged");
    _exit(0);
  }
  while (!word->is_set()) futex_wait(word->state, 0, 1ms);
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(word->cause() == "diverged");
  CHECK(word->code == 6);
  munmap(memory, sizeof(AbortWord));
}
