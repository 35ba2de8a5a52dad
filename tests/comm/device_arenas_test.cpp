// Arenas of one device that ranks announce to each other in files.
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vector>

#include "sherd/base/errors.hpp"
#include "sherd/comm/local.hpp"
#include "support/device_under_test.hpp"

using namespace sherd;

namespace {

/// The files that ranks announce their arenas in.
struct Files {
  explicit Files(int world) {
    for (int rank = 0; rank < world; ++rank) fds.push_back(memfd_create("arena", MFD_CLOEXEC));
  }
  ~Files() {
    for (const int fd : fds) close(fd);
  }
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;
  std::vector<int> fds;
};

}  // namespace

TEST_CASE("a window on a device arena shows the peer's bytes to the device") {
  const Files files(2);
  const device::OpenDevice one = test::open_device(), two = test::open_device();
  const test::Room arena(one, device::Memory::device, 10000);
  const auto mine = comm::device_arenas(one, files.fds),
             theirs = comm::device_arenas(two, files.fds);
  mine->publish(0, arena.bytes());
  device::Stream writer(one), reader(two);
  const AbortWord abort{};
  for (const int value : {7, 8}) {
    const std::vector<std::byte> sent(10000, static_cast<std::byte>(value));
    device::copy(arena.bytes(), sent, writer);
    device::block(writer, abort);
    std::vector<std::byte> got(100);
    const std::byte* window = theirs->window(0, 5000, 100);
    CHECK(window == theirs->window(0, 0, 1) + 5000);  // opened once, whole
    device::copy(got, {window, 100}, reader);
    device::block(reader, abort);
    CHECK(got == std::vector<std::byte>(100, static_cast<std::byte>(value)));
    theirs->drop(window, 100);
  }
}

TEST_CASE("a rank without peers announces no arena, which not every device can do") {
  const Files files(1);
  const device::OpenDevice opened = test::open_device();
  const test::Room arena(opened, device::Memory::device, 10000);
  const comm::ControlMapping control = comm::ControlBlock::create(1);
  const auto comm = comm::local({.control = &*control,
                                 .arena = arena.bytes(),
                                 .peers = comm::device_arenas(opened, files.fds),
                                 .timeout = std::chrono::seconds(1)});
  std::byte one{};
  CHECK(pread(files.fds[0], &one, 1, 0) == 0);
}

TEST_CASE(
    "a window beyond a device arena and an arena nobody announced are errors that name the rank") {
  const Files files(2);
  const device::OpenDevice opened = test::open_device();
  const test::Room arena(opened, device::Memory::device, 10000);
  const auto peers = comm::device_arenas(opened, files.fds);
  peers->publish(0, arena.bytes());
  CHECK_THROWS_WITH_AS((void)peers->window(0, 9990, 11),
                       "the arena of rank 0 holds 10000 bytes, need 10001: the plans differ",
                       CommError);
  CHECK_THROWS_AS((void)peers->window(0, ~Bytes{0} - 10, 100), CommError);
  CHECK_THROWS_WITH_AS((void)peers->window(1, 0, 1), "rank 1 has announced no device arena",
                       CommError);
  std::byte host[4];
  CHECK_THROWS_AS(peers->read(0, 0, host), UsageError);
}

TEST_CASE("a device arena that its owner has given up cannot be opened, and nothing hangs") {
  const Files files(1);
  const device::OpenDevice opened = test::open_device();
  const auto peers = comm::device_arenas(opened, files.fds);
  {
    const test::Room arena(opened, device::Memory::device, 10000);
    peers->publish(0, arena.bytes());
  }
  CHECK_THROWS_AS((void)peers->window(0, 0, 1), CommError);
}
