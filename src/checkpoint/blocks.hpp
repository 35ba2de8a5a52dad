#pragma once
// The files of a checkpoint by blocks, each checked when it is read.
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "sherd/checkpoint/checkpoint.hpp"
#include "sherd/memory/arena.hpp"

namespace sherd::checkpoint {

/// Threads of its own read ahead of whoever asks, several blocks with one call and past the page
/// cache, and another checks: the disk waits for no checksum. They start with the first block
/// of a file that is longer than such a read.
///
/// **Memory** `most` runs of blocks, and one more for each caller beyond.
class Checkpoint::Blocks {
 public:
  Blocks(io::Storage& storage, const std::string& folder, const std::vector<FileEntry>& files);
  ~Blocks();

  /// Waits for the block and copies from its byte `first` on. **Errors** DataError naming the file
  /// and the bytes.
  void copy(std::uint32_t file, std::uint64_t block, Bytes first, std::span<std::byte> into);

 private:
  /// Blocks that are read with one call.
  struct Run {
    enum class State : std::uint8_t { wanted, moving, checked };
    std::uint32_t file = 0;
    std::uint64_t number = 0;
    State state = State::wanted;
    int callers = 0;
    Bytes copied = 0;
    memory::Arena memory;
    std::string unread;                 // why; empty: it was
    std::vector<std::string> problems;  // by block; empty: none
  };
  using Handle = std::shared_ptr<Run>;
  using Held = std::deque<Handle>;

  [[nodiscard]] static bool idle(const Handle& run);
  [[nodiscard]] Held::iterator replaceable();
  Handle want(std::uint32_t file, std::uint64_t number);
  void want_ahead(const Run& of);
  void drop(Held::iterator run);
  [[nodiscard]] std::span<std::byte> bytes_of(const Run& run) const;
  void fetch(Run& run) const;
  void check(Run& run) const;
  enum class Work : std::uint8_t { fetch, check };
  void start_threads();
  void serve(Work work);

  static constexpr std::uint64_t at_once = 2;        // blocks
  static constexpr std::size_t most = 8, ahead = 3;  // runs at hand, read before they are asked for
  static constexpr int readers = 2;

  const std::vector<FileEntry>& entries_;
  std::vector<io::Stored> files_;
  Bytes room_ = 0;  // of a run
  std::mutex mutex_;
  std::condition_variable wishes_, arrivals_, news_;
  Held held_;    // what was asked for last is last
  Held wanted_;  // in the order of asking
  Held read_;    // and not checked
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace sherd::checkpoint
