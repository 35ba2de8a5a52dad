#include "sherd/io/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "sherd/base/errors.hpp"

namespace sherd::io {

File::File(std::string path) : path_(std::move(path)) {
  // Without O_NONBLOCK, opening a pipe would wait for its writer.
  do {
    fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  } while (fd_ < 0 && errno == EINTR);
  if (fd_ < 0) throw DataError(path_ + ": cannot be opened (" + std::strerror(errno) + ")");
  struct stat info {};
  const bool known = ::fstat(fd_, &info) == 0;
  if (!known || !S_ISREG(info.st_mode)) {
    ::close(std::exchange(fd_, -1));
    throw DataError(path_ + ": is not a regular file");
  }
  size_ = static_cast<Bytes>(info.st_size);
}

File::File(File&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), size_(other.size_) {}

File& File::operator=(File&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  return *this;
}

File::~File() {
  if (fd_ >= 0) ::close(fd_);
}

void File::pread_exact(Bytes offset, std::span<std::byte> into) const {
  if (offset > size_ || into.size() > size_ - offset) {
    refuse(offset, "needs " + std::to_string(into.size()) + " bytes and has " +
                       std::to_string(offset > size_ ? 0 : size_ - offset));
  }
  while (!into.empty()) {
    const ssize_t got = ::pread(fd_, into.data(), into.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) refuse(offset, std::string("cannot be read (") + std::strerror(errno) + ")");
    if (got == 0) refuse(offset, "became shorter while it was read, and ends");
    offset += static_cast<Bytes>(got);
    into = into.subspan(static_cast<std::size_t>(got));
  }
}

void File::refuse(Bytes offset, const std::string& problem) const {
  throw DataError(path_ + ": " + problem + " at byte " + std::to_string(offset));
}

std::string read_text(const File& file, Bytes limit) {
  if (file.size() > limit) {
    throw DataError(file.path() + ": got " + std::to_string(file.size()) + " bytes, need at most " +
                    std::to_string(limit));
  }
  std::string text(file.size(), '\0');
  file.pread_exact(0, std::as_writable_bytes(std::span(text)));
  return text;
}

std::string printable(std::string_view text) {
  constexpr std::size_t longest = 120;
  std::string clean(text.substr(0, longest));
  std::ranges::replace_if(
      clean, [](char c) { return static_cast<unsigned char>(c) < 32 || c == 127; }, '?');
  if (text.size() > longest) clean += "...";
  return clean;
}

}  // namespace sherd::io
