#pragma once
// The files of a checkpoint by blocks, each checked when it is read.
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "sherd/checkpoint/checkpoint.hpp"

namespace sherd::checkpoint {

/// Threads of its own read ahead of whoever asks: the disk, the checksum and the caller's work go
/// on side by side. They start with the first block asked for.
class Checkpoint::Blocks {
 public:
  Blocks(io::Storage& storage, const std::string& folder, const std::vector<FileEntry>& files);
  ~Blocks();

  using Block = std::shared_ptr<const std::vector<std::byte>>;
  /// Waits for the block. **Errors** DataError naming the file and the bytes.
  [[nodiscard]] Block at(std::uint32_t file, std::uint64_t block);

 private:
  struct Held {
    std::uint32_t file = 0;
    std::uint64_t block = 0;
    std::promise<Block> made;
    std::shared_future<Block> bytes{made.get_future()};
  };
  using Handle = std::shared_ptr<Held>;
  [[nodiscard]] Handle find(std::uint32_t file, std::uint64_t block) const;
  Handle want(std::uint32_t file, std::uint64_t block);
  [[nodiscard]] Block load(const Held& what) const;
  void serve();

  static constexpr std::size_t most = 8, ahead = 4;  // of them at hand, asked for before they are
  static constexpr int readers = 2;
  const std::vector<FileEntry>& entries_;
  std::vector<io::Stored> files_;
  std::mutex mutex_;
  std::condition_variable news_;
  std::deque<Handle> held_;    // the newest last
  std::deque<Handle> wanted_;  // in the order of asking
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace sherd::checkpoint
