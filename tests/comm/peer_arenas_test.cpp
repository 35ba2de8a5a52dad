#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "sherd/base/errors.hpp"
#include "sherd/comm/local.hpp"
#include "sherd/memory/arena.hpp"

namespace {

using namespace sherd;

TEST_CASE("a mapped window shows the peer's bytes and no more than its arena holds") {
  const int fd = memfd_create("arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  REQUIRE(fd >= 0);
  const memory::Arena arena = memory::Arena::shared(fd, 3 * 4096);
  std::memset(arena.bytes().data() + 5000, 7, 100);
  const auto peers = comm::mapped_arenas({fd});
  const std::byte* window = peers->window(0, 5000, 100);
  CHECK(std::to_integer<int>(window[0]) == 7);
  CHECK(std::to_integer<int>(window[99]) == 7);
  peers->drop(window, 100);
  std::memset(arena.bytes().data() + 5000, 8, 100);
  CHECK(std::to_integer<int>(peers->window(0, 5000, 100)[0]) == 8);
  CHECK_THROWS_WITH_AS(peers->window(0, 12000, 1000),
                       "the arena of rank 0 holds 12288 bytes, need 13000: the plans differ",
                       CommError);
  CHECK_THROWS_AS(peers->window(0, ~Bytes{0} - 10, 100), CommError);
  std::array<std::byte, 200> copy{};
  peers->read(0, 4950, copy);
  CHECK(std::to_integer<int>(copy[49]) == 0);
  CHECK(std::to_integer<int>(copy[50]) == 8);
  CHECK_THROWS_WITH_AS(peers->read(0, 12200, copy),
                       "the arena of rank 0 holds 12288 bytes, need 12400: the plans differ",
                       CommError);
  CHECK(ftruncate(fd, 4096) != 0);  // sealed against the crash that reading past its end would be
  close(fd);
}

TEST_CASE("an arena that was never sized is an error") {
  const int fd = memfd_create("arena", MFD_CLOEXEC);
  REQUIRE(fd >= 0);
  const auto peers = comm::mapped_arenas({fd});
  CHECK_THROWS_AS(peers->window(0, 0, 1), CommError);
  close(fd);
}

}  // namespace
