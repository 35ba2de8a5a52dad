#pragma once
// A file that is written from front to back, and whose first bytes are set at the end.
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "sherd/base/units.hpp"

namespace sherd::data {

/// **Errors** DataError naming the file and the call that failed.
class GrowingFile {
 public:
  /// Replaces what is at `path`.
  explicit GrowingFile(std::string path);
  GrowingFile(const GrowingFile&) = delete;
  GrowingFile& operator=(const GrowingFile&) = delete;
  ~GrowingFile();

  void append(std::span<const std::byte> bytes);
  /// Writes `head` over the first bytes and makes all of it durable. Nothing can follow.
  void finish(std::span<const std::byte> head);
  [[nodiscard]] Bytes size() const { return size_ + waiting_.size(); }

 private:
  void flush();
  [[noreturn]] void fail(const char* call) const;

  std::string path_;
  int fd_ = -1;
  Bytes size_ = 0;  // written
  std::vector<std::byte> waiting_;
};

/// Makes the names in a folder durable.
void sync_folder(const std::string& folder);

}  // namespace sherd::data
