#include "sherd/io/record_file.hpp"

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <cstring>
#include <future>
#include <thread>

#include "io/aligned_bytes.hpp"
#include "io/allocations.hpp"
#include "io/engines.hpp"
#include "io/faulty_system.hpp"
#include "io/temp_folder.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/io/checksum.hpp"
#include "support/faulty_transfer.hpp"

namespace sherd::io {
namespace {

using test::AlignedBytes;
using test::contains;
using test::equal;
using test::FaultPlan;
using test::message_of;
using test::TransferFault;

constexpr Bytes awkward[] = {1, 256, 260, 4095, 4096, 4097, mib - 4096, mib, 4 * mib + 1024};
constexpr Bytes payload = 2 * mib + 260;
constexpr Bytes record_size = record_bytes(payload);

struct Record {
  explicit Record(Bytes bytes, std::uint64_t seed = 0) : memory(record_bytes(bytes)), size(bytes) {
    memory.fill(seed);
  }
  [[nodiscard]] std::span<std::byte> all() { return memory.span(); }
  [[nodiscard]] std::span<std::byte> content() { return all().subspan(direct_block, size); }
  AlignedBytes memory;
  Bytes size;
};

/// A file of four records of `payload` bytes with a fault between it and its engine.
struct Rig {
  Rig(IoEngine engine, FaultPlan plan)
      : file(std::make_unique<test::FaultyTransfer>(
                 transfer_by(engine, OpenFile(folder.path(), 0, 4 * record_size, system), system),
                 std::move(plan)),
             "the file") {}
  void write(Bytes offset, std::uint64_t seed) {
    Record record(payload, seed);
    file.write(offset, record.all(), payload, "master 3 of bucket 1");
  }
  // Whether the record holds what `seed` makes.
  bool holds(Bytes offset, std::uint64_t seed) {
    Record expected(payload, seed), record(payload, 99);
    file.read(offset, record.all(), payload, "master 3 of bucket 1");
    return equal(record.content(), expected.content());
  }
  template <class Error>
  std::string read_problem(Bytes offset) {
    Record record(payload);
    return message_of<Error>(
        [&] { file.read(offset, record.all(), payload, "master 3 of bucket 1"); });
  }
  test::TempFolder folder;
  test::FaultySystem system;
  RecordFile file;
};

// Both, or what there is.
std::vector<IoEngine> engines() {
  try {
    const Rig rig(IoEngine::uring, {});
    return {IoEngine::uring, IoEngine::threads};
  } catch (const ConfigError&) {
    return {IoEngine::threads};
  }
}

bool names_the_record(const std::string& said, Bytes offset) {
  return contains(said, "the file: master 3 of bucket 1, record of " + std::to_string(payload) +
                            " bytes at byte " + std::to_string(offset));
}

std::uint32_t crc32c_bit_by_bit(std::span<const std::byte> bytes) {
  std::uint32_t sum = ~0u;
  for (const std::byte value : bytes) {
    sum ^= std::to_integer<std::uint32_t>(value);
    for (int bit = 0; bit < 8; ++bit) sum = (sum >> 1) ^ ((sum & 1) != 0 ? 0x82f63b78u : 0u);
  }
  return ~sum;
}

TEST_CASE("crc32c agrees with its definition and its published check value") {
  constexpr std::string_view digits = "123456789";
  CHECK(crc32c(std::as_bytes(std::span(digits))) == 0xe3069283u);
  AlignedBytes bytes(8192);
  for (const std::size_t size : {0u, 1u, 7u, 64u, 260u, 4092u, 8192u}) {
    const std::span<const std::byte> part = bytes.span().first(size);
    CHECK(crc32c(part) == crc32c_bit_by_bit(part));
  }
}

TEST_CASE("Records of any size are read as they were written, from either engine") {
  for (const IoEngine engine : engines()) {
    const test::TempFolder folder;
    Bytes total = 0;
    for (const Bytes size : awkward) total += record_bytes(size);
    const auto file =
        make_record_file({.offload_dir = folder.path(), .io_engine = engine}, 0, total);
    for (int generation = 1; generation <= 3; ++generation) {
      Bytes offset = 0;
      for (const Bytes size : awkward) {
        Record record(size, size + static_cast<Bytes>(generation));
        file->write(offset, record.all(), size, "state");
        offset += record_bytes(size);
      }
      offset = 0;
      for (const Bytes size : awkward) {
        Record expected(size, size + static_cast<Bytes>(generation)), record(size, 1);
        file->read(offset, record.all(), size, "state");
        CHECK(equal(record.content(), expected.content()));
        offset += record_bytes(size);
      }
    }
  }
}

TEST_CASE("Padding is zero in memory and file whatever was there") {
  Rig rig(IoEngine::threads, {});
  Record record(payload, 7);
  rig.file.write(0, record.all(), payload, "state");
  for (const std::byte value : record.all().subspan(direct_block + payload))
    CHECK(value == std::byte{0});
}

TEST_CASE("Errors of reads and writes name file, record, place and reason") {
  for (const IoEngine engine : engines()) {
    Rig reads(engine, {.fault = TransferFault::fail_read, .nth = 2});
    reads.write(record_size, 1);
    CHECK(reads.holds(record_size, 1));
    const std::string read = reads.read_problem<DeviceError>(record_size);
    CHECK(names_the_record(read, record_size));
    CHECK(contains(read, "Input/output error"));
    CHECK(reads.holds(record_size, 1));

    Rig writes(engine, {.fault = TransferFault::fail_write, .nth = 2});
    writes.write(0, 1);
    const std::string write = message_of<DeviceError>([&] { writes.write(0, 2); });
    CHECK(names_the_record(write, 0));
    CHECK(contains(write, "No space left on device"));
  }
}

TEST_CASE("A bit that changes in any kind of place of a record is found") {
  for (const IoEngine engine : engines()) {
    for (const TransferFault fault : {TransferFault::flip_read, TransferFault::flip_write}) {
      const Bytes places[] = {0,
                              40,
                              4000,
                              4095,
                              direct_block,
                              mib - 1,
                              mib,
                              2 * mib,
                              direct_block + payload - 1,
                              direct_block + payload,
                              record_size - 1};
      for (const Bytes place : places) {
        Rig rig(engine, {.fault = fault, .place = place});
        rig.write(record_size, 1);
        const std::string said = rig.read_problem<DataError>(record_size);
        CHECK(names_the_record(said, record_size));
        CHECK(contains(said, place < direct_block ? "header is damaged" : "torn or altered"));
      }
    }
  }
}

TEST_CASE("A record that was torn at any block is found") {
  for (const IoEngine engine : engines()) {
    for (const Bytes blocks : {Bytes{1}, Bytes{2}, mib / 4096, record_size / 4096 - 1}) {
      Rig rig(engine, {.fault = TransferFault::tear_write, .nth = 2, .place = blocks * 4096});
      rig.write(0, 1);
      CHECK(rig.holds(0, 1));
      rig.write(0, 2);
      CHECK(contains(rig.read_problem<DataError>(0), "torn or altered"));
    }
  }
}

TEST_CASE("A write that was lost is found, the first and a later one") {
  for (const IoEngine engine : engines()) {
    Rig first(engine, {.fault = TransferFault::drop_write});
    first.write(0, 1);
    CHECK(contains(first.read_problem<DataError>(0), "never written"));
    Rig later(engine, {.fault = TransferFault::drop_write, .nth = 2});
    later.write(0, 1);
    later.write(0, 1);
    const std::string said = later.read_problem<DataError>(0);
    CHECK(names_the_record(said, 0));
    CHECK(contains(said, "it is write 1 of this record, not the last, 2: a write was lost"));
  }
}

TEST_CASE("A write to a wrong place is found in both places") {
  for (const IoEngine engine : engines()) {
    Rig rig(engine, {.fault = TransferFault::move_write, .nth = 3, .place = record_size});
    rig.write(0, 1);
    rig.write(record_size, 2);
    rig.write(0, 3);
    CHECK(contains(rig.read_problem<DataError>(0), "a write was lost"));
    CHECK(contains(rig.read_problem<DataError>(record_size), "it is the record of byte 0"));
  }
}

TEST_CASE("A record that went wrong is whole again after the next write") {
  Rig rig(IoEngine::automatic, {.fault = TransferFault::tear_write, .nth = 1, .place = 4096});
  rig.write(0, 1);
  CHECK(!rig.read_problem<DataError>(0).empty());
  rig.write(0, 2);
  CHECK(rig.holds(0, 2));
}

TEST_CASE("A read before the first write and memory of another size are broken calls") {
  Rig rig(IoEngine::threads, {});
  Record record(payload);
  CHECK_THROWS_AS(rig.file.read(0, record.all(), payload, "state"), UsageError);
  CHECK_THROWS_AS(rig.file.write(0, record.all(), payload - 4096, "state"), UsageError);
  rig.write(0, 1);
  CHECK_THROWS_AS(rig.file.read(0, record.all(), payload - 1, "state"), UsageError);
}

TEST_CASE("A call does not return before a slow disk has done it") {
  for (const IoEngine engine : engines()) {
    std::promise<void> release;
    const std::shared_future<void> released = release.get_future().share();
    std::atomic<bool> is_released{false}, early{false};
    Rig rig(engine, {.before = [&] { released.wait(); }});
    std::thread caller([&] {
      rig.write(0, 1);
      early = !is_released;
    });
    is_released = true;
    release.set_value();
    caller.join();
    CHECK(!early);
    CHECK(rig.holds(0, 1));
  }
}

TEST_CASE("After the first writes of its records a file allocates nothing more") {
  for (const IoEngine engine : engines()) {
    Rig rig(engine, {});
    Record record(payload);
    const auto sweep = [&] {
      for (const Bytes offset : {Bytes{0}, record_size, 2 * record_size}) {
        rig.file.write(offset, record.all(), payload, "state");
        rig.file.read(offset, record.all(), payload, "state");
      }
    };
    sweep();
    const std::int64_t before = test::allocations();
    sweep();
    CHECK(test::allocations() == before);
  }
}

}  // namespace
}  // namespace sherd::io
