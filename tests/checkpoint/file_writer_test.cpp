#include "sherd/checkpoint/file_writer.hpp"

#include <doctest/doctest.h>

#include <future>

#include "io/aligned_bytes.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/io/checksum.hpp"
#include "support/crash_images.hpp"

using namespace sherd;
using namespace sherd::test;
using namespace sherd::checkpoint;
using Now = FileWriter::Progress;

namespace {

const std::string draft = "/draft", path = draft + "/rank-000.bin";

/// Lets writes begin only while it is open, and may fail one of them.
class Gate final : public MemoryStorage {
 public:
  void shut() { set(false); }
  void open_up() { set(true); }
  void await_writer() {
    std::unique_lock lock(mutex_);
    news_.wait(lock, [&] { return waiting_; });
  }
  void fail_write(int at) { fail_ = at; }
  std::function<void(int)> on_write;

 private:
  void set(bool open) {
    const std::scoped_lock lock(mutex_);
    open_ = open;
    news_.notify_all();
  }
  std::int64_t before(std::string_view call, const std::string&) override {
    if (call != "write") return 0;
    std::unique_lock lock(mutex_);
    waiting_ = true;
    news_.notify_all();
    news_.wait(lock, [&] { return open_; });
    waiting_ = false;
    if (on_write) on_write(writes_);
    return writes_++ == fail_ ? -EIO : 0;
  }
  std::mutex mutex_;
  std::condition_variable news_;
  bool open_ = true, waiting_ = false;
  int writes_ = 0, fail_ = -1;
};

/// Pieces that leave nothing aligned: 8-bit tails, several states, a tensor in two parts.
FileImage image(std::uint64_t numel) {
  FileImage all{"rank-000.bin", {"a", "b"}, {{1, 777}, {1, static_cast<std::int64_t>(numel)}}, {}};
  const std::uint64_t half = numel / 512 * 256;
  all.pieces = {{0, State::moment1, DType::q8, 0, 777},
                {1, State::param, DType::f32, 0, half},
                {0, State::param, DType::bf16, 0, 777},
                {1, State::moment1, DType::q8, 0, numel},
                {1, State::param, DType::f32, half, numel - half}};
  return all;
}

FileBytes content(const FileImage& of, std::uint64_t seed) {
  FileBytes bytes(of.bytes());
  Draw draw(seed);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(draw());
  return bytes;
}

/// Puts portions of up to `most` bytes through the ring; `put` is how far it is.
void pass(FileWriter& writer, std::span<std::byte> ring, const FileBytes& bytes, Bytes most,
          const AbortWord& abort, std::atomic<Bytes>& put) {
  Draw draw(bytes.size());
  put = 0;
  while (put < bytes.size()) {
    const Bytes now = std::min<Bytes>(1 + draw.below(most), bytes.size() - put);
    writer.await_room(put + now, abort);
    for (Bytes i = put; i < put + now; ++i) ring[i % ring.size()] = bytes[i];
    put += now;
    writer.filled(put);
  }
}

/// A writer over a ring, and what it said last.
struct Rig {
  Gate storage;
  FileImage of;
  AlignedBytes ring;
  AbortWord abort{};
  std::atomic<Bytes> put{0};
  std::promise<std::string> told;
  std::optional<FileWriter> writer;

  Rig(FileImage all, Bytes ring_size) : of(std::move(all)), ring(ring_size) {
    writer.emplace(storage, ring.span(), of);
  }
  std::future<std::string> start() {
    told = {};
    writer->start(draft, [this](const FileWriter& w) { told.set_value(w.problem()); });
    return told.get_future();
  }
  void settle() const {
    while (writer->progress() == Now::writing) std::this_thread::yield();
  }
};

Digest digest(const FileImage& of, const FileBytes& bytes, std::size_t tensor, State state) {
  Digest sum{};
  Bytes offset = 0;
  for (const Piece& piece : of.pieces) {
    if (piece.tensor == tensor && piece.state == state)
      add(sum, digest_of(piece.type, piece.first / 256, piece.count, bytes.data() + offset));
    offset += packed_bytes(piece.type, piece.count);
  }
  return sum;
}

void check_file(Rig& rig, FileBytes bytes) {
  const Contents part = rig.writer->contents();
  check("part", part, false);
  for (const Tensor& tensor : part.tensors) {
    for (const TensorState& state : tensor.states)
      CHECK(state.digest == digest(rig.of, bytes, tensor.name == "a" ? 0 : 1, state.state));
  }
  bytes.resize(round_up(bytes.size(), io::direct_block));  // zeros
  REQUIRE(part.files.size() == 1);
  CHECK(part.files[0].size == bytes.size());
  CHECK(rig.storage.bytes_of(path) == bytes);
  REQUIRE(part.files[0].blocks.size() == ceil_div(bytes.size(), mib));
  for (std::size_t b = 0; b < part.files[0].blocks.size(); ++b) {
    const auto block = std::span(bytes).subspan(b * mib);
    CHECK(part.files[0].blocks[b] == io::crc32c(block.first(std::min(block.size(), mib))));
  }
}

}  // namespace

TEST_CASE("a file is what was put, however often it goes round the ring") {
  for (const std::uint64_t numel : {600u, 20'000u, 300'000u, 1'000'001u}) {
    for (const Bytes ring : {2 * mib, 3 * mib, 8 * mib}) {
      CAPTURE(numel);
      CAPTURE(ring);
      Rig rig(image(numel), ring);
      for (std::uint64_t seed = 1; seed < 3; ++seed) {
        const FileBytes bytes = content(rig.of, seed);
        std::future<std::string> end = rig.start();
        pass(*rig.writer, rig.ring.span(), bytes, mib - 16 * kib, rig.abort, rig.put);
        CHECK(end.get().empty());
        rig.settle();
        REQUIRE(rig.writer->progress() == Now::synced);
        check_file(rig, bytes);
        REQUIRE(rig.storage.remove(path) == 0);
      }
      CHECK(rig.storage.open_files() == 0);
    }
  }
}

TEST_CASE("a ring as large as the file takes it in one piece, and an empty file is one too") {
  Rig rig(image(5000), round_up(image(5000).bytes(), io::direct_block));
  const FileBytes bytes = content(rig.of, 9);
  std::future<std::string> end = rig.start();
  pass(*rig.writer, rig.ring.span(), bytes, bytes.size(), rig.abort, rig.put);
  CHECK(end.get().empty());
  check_file(rig, bytes);

  Rig empty({"rank-000.bin", {}, {}, {}}, io::direct_block);
  CHECK(empty.start().get().empty());
  CHECK(empty.storage.bytes_of(path).empty());
  CHECK(empty.writer->contents().files[0].blocks.empty());
}

TEST_CASE("no more is put than the ring holds while a disk is slow") {
  Rig rig(image(1'000'001), 2 * mib);
  const FileBytes bytes = content(rig.of, 4);
  Bytes written = 0, most = 0;
  rig.storage.on_write = [&](int) {
    most = std::max(most, rig.put - std::min<Bytes>(rig.put, written));
    written += mib;  // at least; so this bound is the strictest
  };
  rig.storage.shut();
  std::future<std::string> end = rig.start();
  std::thread caller(
      [&] { pass(*rig.writer, rig.ring.span(), bytes, mib - 16 * kib, rig.abort, rig.put); });
  rig.storage.await_writer();
  CHECK(rig.put <= 2 * mib);
  rig.storage.open_up();
  caller.join();
  CHECK(end.get().empty());
  CHECK(most <= 2 * mib);
  check_file(rig, bytes);
}

TEST_CASE("a write that fails frees its caller, is told once by name, and the next file is whole") {
  Rig rig(image(1'000'001), 2 * mib);
  const FileBytes bytes = content(rig.of, 4);
  rig.storage.fail_write(1);
  std::future<std::string> end = rig.start();
  pass(*rig.writer, rig.ring.span(), bytes, mib - 16 * kib, rig.abort, rig.put);
  CHECK(end.get() == path + ": write failed (Input/output error)");
  rig.settle();
  CHECK(rig.writer->progress() == Now::failed);
  CHECK(rig.storage.open_files() == 0);
  REQUIRE(rig.storage.remove(path) == 0);
  end = rig.start();
  pass(*rig.writer, rig.ring.span(), bytes, mib - 16 * kib, rig.abort, rig.put);
  CHECK(end.get().empty());
  rig.settle();
  CHECK(rig.writer->progress() == Now::synced);
  check_file(rig, bytes);
}

TEST_CASE("a caller that waits for a slow disk hears when the run has ended") {
  Rig rig(image(1'000'001), 2 * mib);
  rig.storage.shut();
  std::future<std::string> end = rig.start();
  rig.abort.set(5, "a rank was lost");
  const FileBytes bytes = content(rig.of, 4);
  CHECK_THROWS_AS(pass(*rig.writer, rig.ring.span(), bytes, mib - 16 * kib, rig.abort, rig.put),
                  CommError);
  rig.storage.open_up();
  rig.writer.reset();
  CHECK(!end.get().empty());
}

TEST_CASE("a writer that ends before its file is whole does not call it synced") {
  for (const bool put_half : {false, true}) {
    Rig rig(image(300'000), 8 * mib);
    const FileBytes bytes = content(rig.of, 4);
    std::future<std::string> end = rig.start();
    if (put_half) {
      std::copy_n(bytes.begin(), bytes.size() / 2, rig.ring.span().begin());
      rig.writer->filled(bytes.size() / 2);
    }
    rig.writer.reset();
    CHECK(end.get().find("ended before") != std::string::npos);
  }
}

TEST_CASE("what is in the way of a file fails it by name and is left as it was") {
  Rig rig(image(100), mib);
  REQUIRE(rig.storage.make_folder(draft) == 0);
  REQUIRE(rig.storage.close(rig.storage.create(path, io::Cache::through)) == 0);
  std::future<std::string> end = rig.start();
  const FileBytes bytes = content(rig.of, 4);
  pass(*rig.writer, rig.ring.span(), bytes, bytes.size(), rig.abort, rig.put);
  CHECK(end.get() == path + ": open failed (File exists)");
  CHECK(rig.storage.bytes_of(path).empty());
}
