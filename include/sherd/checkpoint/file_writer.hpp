#pragma once
// Writes one rank's file of a checkpoint while training goes on.
#include <array>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "sherd/base/abort.hpp"
#include "sherd/checkpoint/manifest.hpp"
#include "sherd/io/storage.hpp"

namespace sherd::checkpoint {

/// A part of a tensor's state in a file: one behind the other from byte 0 on, without padding.
struct Piece {
  std::size_t tensor = 0;  // in FileImage::names
  State state = State::param;
  DType type = DType::f32;
  std::uint64_t first = 0, count = 0;  // elements; whole quanta but for the tensor's end
};

/// What a rank's file will hold; known before anything is saved.
struct FileImage {
  std::string name;  // "rank-003.bin"
  std::vector<std::string> names;
  std::vector<Shape> shapes;
  std::vector<Piece> pieces;
  [[nodiscard]] Bytes bytes() const;
};

/// Bytes reach it through a ring of memory: byte i of the file at ring[i % ring.size()]. One thread
/// checks them, two others write; a byte's place is free once both is done.
///
/// **Memory** `ring` is aligned to 4096 and outlives the writer; a whole number of MiB unless all
/// of the file fits in.
/// **Order** one caller. A failure ends the file, never the caller: room is then always there and
/// what is put is dropped.
class FileWriter {
 public:
  FileWriter(io::Storage& storage, std::span<std::byte> ring, const FileImage& image);
  /// From now on counts the bytes it writes there.
  void count_in(std::atomic<std::uint64_t>& written) { counter_ = &written; }
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  enum class Progress : std::uint8_t { idle, writing, synced, failed };
  /// Hears on a thread of the writer that a file is synced, or has a problem; before `progress`
  /// says so.
  using Settled = std::function<void(const FileWriter&)>;
  /// Begins the file in `folder`, which is made if it is not there. Nothing may be under way.
  void start(const std::string& folder, Settled settled);
  /// Whether bytes up to `end` may be put now.
  [[nodiscard]] bool has_room(Bytes end) const;
  /// Returns when they may; throws what `abort` says, and DeviceError when
  /// nothing was written for half an hour.
  void await_room(Bytes end, const AbortWord& abort);
  /// Bytes up to `end` have been put.
  void filled(Bytes end);

  /// Of the file.
  [[nodiscard]] Bytes bytes() const { return padded_; }
  [[nodiscard]] Progress progress() const { return progress_.load(std::memory_order_acquire); }
  /// Once it is synced: what to say of it in the manifest.
  [[nodiscard]] Contents contents() const;
  /// Why it has failed; empty when it has not.
  [[nodiscard]] std::string problem() const;

 private:
  void check_loop();
  void write_loop(std::size_t writer);
  void open_file(std::size_t writer);
  bool take(std::size_t writer);
  bool ends();
  template <class Body>
  void guarded(Body&& body);
  bool await(Bytes end);
  [[nodiscard]] bool room(Bytes end) const;
  void settle(const std::string& problem);

  io::Storage& storage_;
  std::span<std::byte> ring_;
  const FileImage& image_;
  const Bytes size_, padded_;

  static constexpr std::size_t writers = 2;  // the disk goes on while one of them begins anew
  struct Part {
    Bytes first = 0, end = 0;
  };

  mutable std::mutex mutex_;
  std::condition_variable news_;
  std::uint64_t round_ = 0;  // files begun
  std::size_t done_ = 0;     // threads that are done with it
  Settled settled_;
  bool ending_ = false;
  Bytes filled_ = 0, checked_ = 0, taken_ = 0, written_ = 0;
  std::array<Part, writers> parts_;  // that are being written; or empty
  bool opened_ = false, ended_ = false;
  io::Stored file_;
  std::string folder_, problem_;
  std::atomic<Progress> progress_{Progress::idle};

  std::vector<std::uint32_t> sums_;
  std::vector<Digest> digests_;  // by piece
  std::atomic<std::atomic<std::uint64_t>*> counter_{nullptr};
  std::vector<std::thread> threads_;
};

}  // namespace sherd::checkpoint
