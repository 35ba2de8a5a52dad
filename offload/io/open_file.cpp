#include "io/open_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "sherd/base/errors.hpp"

namespace sherd::io {
namespace {

// A kill between the two calls leaves a name, which the next owner of the folder removes.
int open_and_unlink(const std::string& folder, Rank rank) {
  const std::string name = folder + "/" + passing_name + std::to_string(::getpid()) + "-" +
                           std::to_string(rank) + "-" + std::to_string(::gettid());
  const int file = ::open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) return -errno;
  ::unlink(name.c_str());
  return file;
}

// A cause of a run's end has a few hundred bytes: what went wrong comes after the folder.
std::string shown(const std::string& folder) {
  constexpr std::size_t most = 160;
  return folder.size() <= most ? folder : "..." + folder.substr(folder.size() - most);
}

bool is_full(int error) { return error == ENOSPC || error == EDQUOT || error == EFBIG; }

}  // namespace

OpenFile::OpenFile(std::string folder, Rank rank, Bytes size, SystemCalls& system)
    : path_(shown(folder) + " (file of rank " + std::to_string(rank) + ")"),
      descriptor_(system.open_unnamed(folder.c_str())) {
  // Which error says that there are no unnamed files depends on the file system and its age.
  const int first = descriptor_;
  if (first == -EOPNOTSUPP || first == -EISDIR || first == -ENOENT || first == -EINVAL) {
    descriptor_ = open_and_unlink(folder, rank);
  }
  if (descriptor_ < 0) {
    throw DeviceError(path_ + ": cannot be made (" + std::strerror(-descriptor_) + ")");
  }
  try {
    take_room(size, system);
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
  // Only now: without fallocate room is taken by writing single bytes.
  direct_ = system.bypass_cache(descriptor_) == 0;
}

void OpenFile::take_room(Bytes size, SystemCalls& system) const {
  if (size == 0) return;
  const Bytes free = system.room(descriptor_);
  int answer = size > free ? -ENOSPC : system.reserve(descriptor_, size);
  while (answer == -EINTR) answer = system.reserve(descriptor_, size);
  if (answer == 0) return;
  const std::string why = std::strerror(-answer);
  if (!is_full(-answer)) throw DeviceError(path_ + ": cannot take its room (" + why + ")");
  throw CapacityError("--offload-dir: " + path_ + " needs " + format_bytes(size) + " (" +
                      std::to_string(size) + " bytes), but " + format_bytes(free) + " (" +
                      std::to_string(free) + " bytes) are free in it (" + why + ")");
}

OpenFile::OpenFile(OpenFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      direct_(other.direct_) {}

OpenFile::~OpenFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace sherd::io
