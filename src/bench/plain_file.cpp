#include "bench/plain_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "sherd/base/errors.hpp"

namespace sherd::bench {
namespace {

[[noreturn]] void fail(const char* call, int error) {
  throw DeviceError(std::string("bench io: ") + call + ": " + std::strerror(error));
}

}  // namespace

PlainFile::PlainFile(const std::string& folder, Bytes size) {
  std::string name = folder + "/plain-XXXXXX";
  file_ = ::mkostemp(name.data(), O_CLOEXEC);
  if (file_ < 0) fail("mkostemp", errno);
  ::unlink(name.c_str());
  if (const int error = ::posix_fallocate(file_, 0, static_cast<off_t>(size)); error != 0) {
    ::close(file_);
    fail("posix_fallocate", error);
  }
  // Now, so that neither this nor what a removed file gives back is part of what is measured.
  if (::fsync(file_) != 0) {
    const int error = errno;
    ::close(file_);
    fail("fsync", error);
  }
  direct_ = ::fcntl(file_, F_SETFL, O_DIRECT) == 0;
}

PlainFile::~PlainFile() { ::close(file_); }

void PlainFile::read(Bytes offset, std::span<std::byte> into) const {
  while (!into.empty()) {
    const ssize_t got = ::pread(file_, into.data(), into.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) fail("pread", got < 0 ? errno : EIO);
    offset += static_cast<Bytes>(got);
    into = into.subspan(static_cast<std::size_t>(got));
  }
}

void PlainFile::write(Bytes offset, std::span<const std::byte> from) const {
  while (!from.empty()) {
    const ssize_t put = ::pwrite(file_, from.data(), from.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) fail("pwrite", put < 0 ? errno : EIO);
    offset += static_cast<Bytes>(put);
    from = from.subspan(static_cast<std::size_t>(put));
  }
}

}  // namespace sherd::bench
