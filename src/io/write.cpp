#include "sherd/io/write.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "sherd/base/errors.hpp"

namespace sherd::io {
namespace {

[[noreturn]] void fail(const std::string& path, const char* call) {
  throw DataError(path + ": cannot be written (" + call + ": " + std::strerror(errno) + ")");
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "./" : path.substr(0, slash + 1);
}

/// A hidden name beside `target` that no other writer of this machine uses now.
std::string draft_path(const std::string& target) {
  static std::atomic<std::uint64_t> drafts = 0;
  const std::string folder = folder_of(target);
  const std::string name = target.substr(target.rfind('/') + 1);
  return folder + "." + name + "." + std::to_string(::getpid()) + "-" +
         std::to_string(drafts.fetch_add(1)) + ".tmp";
}

/// Owns a temporary file beside its target; removed unless it was renamed.
class Draft {
 public:
  explicit Draft(const std::string& target) : target_(target), path_(draft_path(target)) {
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ < 0) fail(target_, "open");
  }
  Draft(const Draft&) = delete;
  Draft& operator=(const Draft&) = delete;
  ~Draft() {
    if (fd_ >= 0) ::close(fd_);
    if (!path_.empty()) ::unlink(path_.c_str());
  }

  void write(std::span<const std::byte> content) const {
    while (!content.empty()) {
      const ssize_t done = ::write(fd_, content.data(), content.size());
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) fail(target_, "write");
      content = content.subspan(static_cast<std::size_t>(done));
    }
    if (::fsync(fd_) != 0) fail(target_, "fsync");
  }
  void rename() {
    if (::close(std::exchange(fd_, -1)) != 0) fail(target_, "close");
    if (::rename(path_.c_str(), target_.c_str()) != 0) fail(target_, "rename");
    path_.clear();
  }

 private:
  const std::string& target_;
  std::string path_;
  int fd_ = -1;
};

void sync_folder_of(const std::string& path) {
  const std::string folder = folder_of(path);
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) fail(folder, "open");
  const int result = ::fsync(fd);
  const int cause = errno;
  ::close(fd);
  errno = cause;
  // Some file systems cannot sync folders and say EINVAL; there is nothing more to do there.
  if (result != 0 && cause != EINVAL) fail(folder, "fsync");
}

}  // namespace

void write_atomically(const std::string& path, std::span<const std::byte> content) {
  Draft draft(path);
  draft.write(content);
  draft.rename();
  sync_folder_of(path);
}

}  // namespace sherd::io
