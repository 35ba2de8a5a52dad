#include "io/system_calls.hpp"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

#include <cerrno>

namespace sherd::io {

int SystemCalls::open_unnamed(const char* folder) {
  const int file = ::open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  return file < 0 ? -errno : file;
}

int SystemCalls::bypass_cache(int file) {
  const int flags = ::fcntl(file, F_GETFL);
  return flags < 0 || ::fcntl(file, F_SETFL, flags | O_DIRECT) < 0 ? -errno : 0;
}

int SystemCalls::reserve(int file, Bytes size) {
  return -::posix_fallocate(file, 0, static_cast<off_t>(size));
}

Bytes SystemCalls::room(int file) {
  struct statvfs info {};
  if (::fstatvfs(file, &info) != 0) return 0;
  return static_cast<Bytes>(info.f_bavail) * static_cast<Bytes>(info.f_frsize);
}

std::int64_t SystemCalls::kind(const char* folder) {
  struct statfs info {};
  return ::statfs(folder, &info) == 0 ? static_cast<std::int64_t>(info.f_type) : 0;
}

SystemCalls& system_calls() {
  static SystemCalls system;
  return system;
}

}  // namespace sherd::io
