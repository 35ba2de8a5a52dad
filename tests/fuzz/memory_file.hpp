#pragma once
// Inputs as files, for parsers that take paths.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <stdexcept>
#include <string>
#include <string_view>

namespace sherd::fuzz {

/// A file in memory that has a path for as long as it lives.
class MemoryFile {
 public:
  MemoryFile() : file_(::memfd_create("input", MFD_CLOEXEC)) {
    if (file_ < 0) throw std::runtime_error("memfd_create failed");
    path_ = "/proc/self/fd/" + std::to_string(file_);
  }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile() { ::close(file_); }

  [[nodiscard]] const std::string& path() const { return path_; }
  void fill(std::string_view content) const {
    const bool done =
        ::ftruncate(file_, 0) == 0 &&
        ::pwrite(file_, content.data(), content.size(), 0) == static_cast<ssize_t>(content.size());
    if (!done) throw std::runtime_error("the file in memory cannot be written");
  }

 private:
  int file_;
  std::string path_;
};

}  // namespace sherd::fuzz
