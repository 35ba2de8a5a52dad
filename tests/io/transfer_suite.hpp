#pragma once
// What every engine does. Who includes this has defined `tested`, an IoEngine, before.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <set>
#include <vector>

#include "io/aligned_bytes.hpp"
#include "io/allocations.hpp"
#include "io/engines.hpp"
#include "io/faulty_system.hpp"
#include "io/temp_folder.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::io {
namespace {

using test::AlignedBytes;
using test::contains;
using test::equal;
using test::FaultySystem;
using test::message_of;

constexpr std::size_t sizes[] = {4096,           8192,           mib - 4096,         mib,
                                 mib + 4096,     3 * mib + 4096, 4 * mib + 2 * 4096, 16 * mib,
                                 17 * mib + 4096};
constexpr Bytes file_size = 20 * mib;

struct Rig {
  explicit Rig(FaultySystem with = {})
      : system(std::move(with)),
        transfer(transfer_by(tested, OpenFile(folder.path(), 0, file_size, system), system)) {}
  test::TempFolder folder;
  FaultySystem system;
  std::unique_ptr<Transfer> transfer;
};

/// Whether this machine lacks the engine; says so where the runner looks for it.
bool is_missing() {
  try {
    const Rig rig;
    return false;
  } catch (const ConfigError& error) {
    MESSAGE("SKIP: " << error.what());
    return true;
  }
}

// Writes and reads `size` bytes, which must arrive unharmed whatever the system does.
void check_round_trip(Rig& rig, std::size_t size) {
  AlignedBytes sent(size), got(size);
  sent.fill(size);
  rig.transfer->write(4096, sent.span(), nullptr);
  rig.transfer->read(4096, got.span(), nullptr);
  CHECK(equal(sent.span(), got.span()));
}

std::string write_problem(Rig& rig, std::size_t size) {
  AlignedBytes sent(size);
  return message_of<DeviceError>([&] { rig.transfer->write(0, sent.span(), nullptr); });
}

TEST_CASE("What was written is read again, at every size and place") {
  if (is_missing()) return;
  Rig rig;
  for (const std::size_t size : sizes) check_round_trip(rig, size);
  AlignedBytes a(mib), b(2 * mib), got(3 * mib);
  a.fill(1);
  b.fill(2);
  rig.transfer->write(2 * mib, b.span(), nullptr);
  rig.transfer->write(mib, a.span(), nullptr);
  rig.transfer->read(mib, got.span(), nullptr);
  CHECK(equal(got.span().first(mib), a.span()));
  CHECK(equal(got.span().subspan(mib), b.span()));
}

TEST_CASE("The name says how bytes move and whether past the cache") {
  if (is_missing()) return;
  const std::string direct = Rig().transfer->name();
  CHECK(contains(direct, tested == IoEngine::uring ? "io_uring" : "2 threads"));
  FaultySystem system;
  system.bypass = -EINVAL;
  Rig buffered(system);
  CHECK(contains(buffered.transfer->name(), ", buffered"));
  check_round_trip(buffered, 3 * mib + 4096);
}

TEST_CASE("Short counts are taken up where they ended") {
  if (is_missing()) return;
  for (const std::size_t most : {std::size_t{4096}, std::size_t{12288}, std::size_t{mib - 4096}}) {
    FaultySystem system;
    system.grant = [most](Direction, Bytes, std::size_t bytes) { return std::min(bytes, most); };
    Rig rig(system);
    check_round_trip(rig, 3 * mib + 4096);
  }
}

TEST_CASE("A short count within a block begins with that block again") {
  if (is_missing()) return;
  FaultySystem system;
  system.bypass = -EINVAL;  // a direct file has no such counts
  system.grant = [](Direction, Bytes, std::size_t bytes) {
    return bytes > 8192 ? bytes - 1000 : bytes;
  };
  Rig rig(system);
  check_round_trip(rig, 2 * mib + 4096);
}

TEST_CASE("Interrupted requests are made again") {
  if (is_missing()) return;
  for (const int error : {EINTR, EAGAIN}) {
    const auto calls = std::make_shared<std::atomic<int>>(0);
    FaultySystem system;
    system.answer = [calls, error](Direction, Bytes, int said) {
      return ++*calls % 3 == 0 ? said : -error;
    };
    const auto waits = std::make_shared<std::atomic<int>>(0);
    system.enter = [waits, error](int said) { return ++*waits % 2 == 0 ? said : -error; };
    Rig rig(system);
    check_round_trip(rig, 5 * mib);
  }
}

TEST_CASE("A request that is interrupted for ever ends as an error") {
  if (is_missing()) return;
  FaultySystem system;
  system.answer = [](Direction, Bytes, int) { return -EINTR; };
  Rig rig(system);
  CHECK(contains(write_problem(rig, 4096), "cannot be written at byte 0 (Interrupted"));
}

TEST_CASE("A count of zero and one that never fills a block are errors, not loops") {
  if (is_missing()) return;
  for (const int count : {0, 512}) {
    FaultySystem system;
    system.answer = [count](Direction, Bytes, int) { return count; };
    Rig rig(system);
    CHECK(contains(write_problem(rig, 8192), "fewer than the 8192 bytes"));
  }
}

TEST_CASE("Reading past the end is an error that names the place") {
  if (is_missing()) return;
  Rig rig;
  AlignedBytes got(2 * mib);
  const std::string said =
      message_of<DeviceError>([&] { rig.transfer->read(file_size - mib, got.span(), nullptr); });
  CHECK(contains(said, "cannot be read at byte " + std::to_string(file_size)));
}

TEST_CASE("An error of the device at any request is named, and the next call works") {
  if (is_missing()) return;
  for (const int error : {EIO, ENOSPC}) {
    for (const Bytes place : {Bytes{0}, Bytes{2 * mib}, Bytes{3 * mib}, Bytes{11 * mib}}) {
      const auto armed = std::make_shared<std::atomic<bool>>(true);
      FaultySystem system;
      system.answer = [=](Direction direction, Bytes offset, int said) {
        if (direction != Direction::write || offset != place) return said;
        return armed->exchange(false) ? -error : said;
      };
      Rig rig(system);
      const std::string said = write_problem(rig, 12 * mib);
      CHECK(contains(said, "cannot be written at byte " + std::to_string(place)));
      CHECK(contains(said, error == EIO ? "Input/output error" : "No space left"));
      check_round_trip(rig, 12 * mib);
    }
  }
}

TEST_CASE("Memory, offsets and sizes within a block are refused before anything moves") {
  if (is_missing()) return;
  Rig rig;
  AlignedBytes memory(3 * 4096);
  const std::span<std::byte> bytes = memory.span();
  CHECK_THROWS_AS(rig.transfer->read(0, bytes.first(5000), nullptr), UsageError);
  CHECK_THROWS_AS(rig.transfer->read(512, bytes.first(4096), nullptr), UsageError);
  CHECK_THROWS_AS(rig.transfer->write(0, bytes.subspan(8, 4096), nullptr), UsageError);
}

/// Remembers what it was told, and what the memory held then.
struct Told final : Passing {
  void part(std::size_t index) noexcept override {
    const std::scoped_lock lock(mutex);
    parts.push_back(index);
    if (on_part) on_part(index);
  }
  std::mutex mutex;
  std::vector<std::size_t> parts;
  std::function<void(std::size_t)> on_part;
};

TEST_CASE("A read tells of each part once, when it has come") {
  if (is_missing()) return;
  Rig rig;
  AlignedBytes sent(11 * mib + 4096), got(11 * mib + 4096);
  sent.fill(5);
  rig.transfer->write(0, sent.span(), nullptr);
  Told told;
  std::atomic<int> different{0};
  told.on_part = [&](std::size_t index) {
    const std::size_t first = index * transfer_part;
    const std::size_t size = std::min(transfer_part, got.span().size() - first);
    if (!equal(got.span().subspan(first, size), sent.span().subspan(first, size))) ++different;
  };
  rig.transfer->read(0, got.span(), &told);
  CHECK(std::set<std::size_t>(told.parts.begin(), told.parts.end()).size() == 12);
  CHECK(told.parts.size() == 12);
  CHECK(different == 0);
}

TEST_CASE("A write takes what is put into a part when it is told, the first part last") {
  if (is_missing()) return;
  Rig rig;
  for (int round = 0; round < 20; ++round) {
    AlignedBytes sent(11 * mib + 4096), got(11 * mib + 4096);
    Told told;
    told.on_part = [&](std::size_t index) {
      sent.span()[index * transfer_part] = static_cast<std::byte>(index + 100);
    };
    rig.transfer->write(0, sent.span(), &told);
    rig.transfer->read(0, got.span(), nullptr);
    REQUIRE(told.parts.size() == 12);
    CHECK(told.parts.back() == 0);
    CHECK(equal(sent.span(), got.span()));
  }
}

TEST_CASE("Nothing is allocated by a call") {
  if (is_missing()) return;
  Rig rig;
  AlignedBytes memory(11 * mib);
  rig.transfer->write(0, memory.span(), nullptr);
  const std::int64_t before = test::allocations();
  rig.transfer->write(0, memory.span(), nullptr);
  rig.transfer->read(0, memory.span(), nullptr);
  CHECK(test::allocations() == before);
}

}  // namespace
}  // namespace sherd::io
