#pragma once
// The files of a checkpoint by blocks, each checked once while it is held.
#include <cstddef>
#include <deque>
#include <future>
#include <mutex>
#include <vector>

#include "sherd/checkpoint/checkpoint.hpp"

namespace sherd::checkpoint {

class Checkpoint::Blocks {
 public:
  Blocks(io::Storage& storage, const std::string& folder, const std::vector<FileEntry>& files);

  using Block = std::shared_ptr<const std::vector<std::byte>>;
  /// Reads and checks the block unless it is held; others that want it wait for it.
  [[nodiscard]] Block at(std::uint32_t file, std::uint64_t block);

 private:
  struct Held {
    std::uint32_t file = 0;
    std::uint64_t block = 0;
    std::shared_future<Block> bytes;
  };
  [[nodiscard]] Block load(std::uint32_t file, std::uint64_t block) const;

  static constexpr std::size_t most = 4;
  const std::vector<FileEntry>& entries_;
  std::vector<io::Stored> files_;
  std::mutex mutex_;
  std::deque<Held> held_;  // the newest last
};

}  // namespace sherd::checkpoint
