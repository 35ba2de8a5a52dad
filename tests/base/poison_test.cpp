#include "sherd/base/poison.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <vector>

using namespace sherd;

namespace {

// True if `body` ends its process by anything but a quiet return.
template <class Body>
bool dies(Body body) {
  const pid_t child = fork();
  if (child == 0) {
    dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
    body();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

bool skipped() {
  if (!poison_works()) std::puts("SKIP: built without the address sanitizer");
  return !poison_works();
}

}  // namespace

TEST_CASE("Memory that was unpoisoned again is usable") {
  std::vector<std::byte> memory(4096);
  poison(memory);
  unpoison(memory);
  touch(memory);
  memory[17] = std::byte{1};
  CHECK(memory[17] == std::byte{1});
}

TEST_CASE("Reading poisoned memory ends the process") {
  if (skipped()) return;
  std::vector<std::byte> memory(4096);
  poison(std::span(memory).subspan(1024, 256));
  const volatile std::byte* bytes = memory.data();
  CHECK(dies([&] { static_cast<void>(bytes[1024] == std::byte{0}); }));
  CHECK(dies([&] { static_cast<void>(bytes[1279] == std::byte{0}); }));
  CHECK_FALSE(dies([&] { static_cast<void>(bytes[1023] == std::byte{0}); }));
  CHECK_FALSE(dies([&] { static_cast<void>(bytes[1280] == std::byte{0}); }));
  unpoison(memory);
}

TEST_CASE("Touching a range with one poisoned granule ends the process") {
  if (skipped()) return;
  std::vector<std::byte> memory(4096);
  poison(std::span(memory).subspan(2048, 8));
  CHECK(dies([&] { touch(memory); }));
  CHECK(dies([&] { touch(std::span(memory).subspan(2055)); }));
  CHECK_FALSE(dies([&] { touch(std::span(memory).first(2048)); }));
  CHECK_FALSE(dies([&] { touch(std::span(memory).subspan(2056)); }));
  CHECK_FALSE(dies([&] { touch({}); }));
  unpoison(memory);
}
