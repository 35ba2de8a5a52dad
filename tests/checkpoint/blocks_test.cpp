// Files of many blocks, read by several callers at once.
#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "io/aligned_bytes.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/checkpoint/checkpoint.hpp"
#include "sherd/checkpoint/file_writer.hpp"
#include "sherd/checkpoint/store.hpp"
#include "support/memory_storage.hpp"

using namespace sherd;
using namespace sherd::test;
using namespace sherd::checkpoint;

namespace {

constexpr std::uint64_t numel = (11 * mib + 512 * kib) / 4;
const std::string root = "/save";

float value_at(std::size_t tensor, std::uint64_t i) {
  return static_cast<float>(i % 1'000'003) + static_cast<float>(tensor) / 2;
}

/// Two tensors, one behind the other in one file.
struct Large {
  MemoryStorage storage;
  std::string folder;

  Large() {
    FileImage image{"rank-000.bin", {"a", "b"}, {}, {}};
    image.shapes.assign(2, {1, static_cast<std::int64_t>(numel)});
    image.pieces = {{0, State::param, DType::f32, 0, numel},
                    {1, State::param, DType::f32, 0, numel}};
    AlignedBytes ring(image.bytes());
    for (std::size_t tensor = 0; tensor < 2; ++tensor) {
      for (std::uint64_t i = 0; i < numel; ++i) {
        const float value = value_at(tensor, i);
        std::memcpy(ring.span().data() + 4 * (tensor * numel + i), &value, sizeof value);
      }
    }
    Store store(storage, root);
    store.enter();
    FileWriter writer(storage, ring.span(), image);
    const std::string draft = store.draft(1, 1);
    writer.start(draft, {});
    writer.filled(image.bytes());
    while (writer.progress() == FileWriter::Progress::writing) std::this_thread::yield();
    store.put_part(draft, 0, writer.contents());
    Manifest manifest;
    manifest.progress.step = 1;
    Bytes bytes = 0;
    folder = store.publish(draft, std::move(manifest), bytes);
  }
  void damage(Bytes at) {
    const std::string path = folder + "/rank-000.bin";
    FileBytes bytes = storage.bytes_of(path);
    bytes[at] ^= std::byte{4};
    storage.alter(path, std::move(bytes));
  }
};

/// Values of [first, first + count) that are not what they were.
std::uint64_t wrong(const Checkpoint& from, std::size_t tensor, std::uint64_t first,
                    std::uint64_t count) {
  std::vector<float> values(count);
  from.read_weights(*from.find(tensor == 0 ? "a" : "b"), first, values);
  std::uint64_t bad = 0;
  for (std::uint64_t i = 0; i < count; ++i)
    if (values[i] != value_at(tensor, first + i)) ++bad;
  return bad;
}

}  // namespace

TEST_CASE("a large file is read as it was written, in order, to and fro, and between two places") {
  Large large;
  const Checkpoint from(large.storage, large.folder);
  constexpr std::uint64_t portion = 300 * 256;
  for (std::uint64_t first = 0; first < numel; first += portion) {
    const std::uint64_t count = std::min(portion, numel - first);
    CHECK(wrong(from, 0, first, count) == 0);
    CHECK(wrong(from, 1, first, count) == 0);
  }
  for (std::uint64_t first = numel / 256 * 256; first >= 5 * portion; first -= 5 * portion)
    CHECK(wrong(from, 1, first - 256, 256) == 0);
  CHECK(wrong(from, 0, 0, numel) == 0);
  CHECK(from.verify().empty());
}

TEST_CASE("more callers at once than runs are held read what was written") {
  Large large;
  const Checkpoint from(large.storage, large.folder);
  std::atomic<std::uint64_t> bad{0};
  std::vector<std::thread> callers;
  for (std::size_t caller = 0; caller < 12; ++caller)
    callers.emplace_back([&, caller] {
      for (std::uint64_t turn = 0; turn < 6; ++turn) {
        const std::uint64_t first = (caller * 7 + turn * 5) % 20 * (numel / 20) / 256 * 256;
        bad += wrong(from, (caller + turn) % 2, first, 500 * 256);
      }
    });
  for (std::thread& caller : callers) caller.join();
  CHECK(bad == 0);
}

TEST_CASE("a damaged block fails who reads it and nobody who reads the blocks beside it") {
  Large large;
  large.damage(5 * mib + 77);
  const Checkpoint from(large.storage, large.folder);
  constexpr std::uint64_t block = mib / 4;  // elements
  CHECK(wrong(from, 0, 0, 5 * block) == 0);
  CHECK(wrong(from, 0, 6 * block, numel - 6 * block) == 0);
  CHECK_THROWS_WITH_AS(wrong(from, 0, 5 * block + 256, 256),
                       doctest::Contains("bytes 5242880 to 6291456"), DataError);
  const auto problems = from.verify();
  REQUIRE(problems.size() == 1);
  CHECK(problems[0].find("it holds param of 'a'") != problems[0].npos);
}
