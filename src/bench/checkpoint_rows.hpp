#pragma once
// A checkpoint of one tensor, saved and loaded again and again.
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string>

#include "sherd/checkpoint/file_writer.hpp"
#include "sherd/checkpoint/store.hpp"

namespace sherd::bench {

class Checkpoints {
 public:
  /// Saves `memory`, whole pieces of 4 MiB, into a folder of its own in `folder`.
  Checkpoints(const std::string& folder, std::span<std::byte> memory);
  ~Checkpoints();
  Checkpoints(const Checkpoints&) = delete;
  Checkpoints& operator=(const Checkpoints&) = delete;

  /// What was saved last.
  void remove();
  /// From memory to durable: checksums, digest, syncs and the manifest. Nothing may be saved.
  void save();
  /// What is loaded next is not in the page cache.
  void forget();
  void load();
  [[nodiscard]] std::int64_t wrong() const { return wrong_; }

 private:
  std::string root_, saved_;
  std::span<std::byte> memory_;
  checkpoint::FileImage image_;
  checkpoint::Store store_;
  std::unique_ptr<checkpoint::FileWriter> writer_;
  std::uint64_t attempts_ = 0;
  std::int64_t wrong_ = 0;
};

}  // namespace sherd::bench
