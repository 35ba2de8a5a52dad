#include "data/growing_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "sherd/base/errors.hpp"

namespace sherd::data {
namespace {

bool write_all(int fd, std::span<const std::byte> bytes, Bytes offset) {
  while (!bytes.empty()) {
    const ssize_t done = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return false;
    offset += static_cast<Bytes>(done);
    bytes = bytes.subspan(static_cast<std::size_t>(done));
  }
  return true;
}

}  // namespace

GrowingFile::GrowingFile(std::string path) : path_(std::move(path)) {
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd_ < 0) fail("open");
}

GrowingFile::~GrowingFile() {
  if (fd_ >= 0) ::close(fd_);
}

void GrowingFile::fail(const char* call) const {
  throw DataError(path_ + ": cannot be written (" + call + ": " + std::strerror(errno) + ")");
}

void GrowingFile::append(std::span<const std::byte> bytes) {
  waiting_.insert(waiting_.end(), bytes.begin(), bytes.end());
  if (waiting_.size() >= 4 * mib) flush();
}

void GrowingFile::flush() {
  if (!write_all(fd_, waiting_, size_)) fail("write");
  size_ += waiting_.size();
  waiting_.clear();
}

void GrowingFile::finish(std::span<const std::byte> head) {
  flush();
  if (!write_all(fd_, head, 0)) fail("write");
  if (::fsync(fd_) != 0) fail("fsync");
  if (::close(std::exchange(fd_, -1)) != 0) fail("close");
}

void sync_folder(const std::string& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const int result = fd < 0 ? -1 : ::fsync(fd);
  const int cause = errno;
  if (fd >= 0) ::close(fd);
  // Some file systems cannot sync folders and say EINVAL; there is nothing more to do there.
  if (result != 0 && cause != EINVAL)
    throw DataError(folder + ": cannot be written (" + std::strerror(cause) + ")");
}

}  // namespace sherd::data
