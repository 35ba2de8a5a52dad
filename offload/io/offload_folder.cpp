#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "io/file_system.hpp"
#include "io/open_file.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/io/record_file.hpp"

namespace sherd::io {
namespace {

constexpr char lock_name[] = "/.sherd-lock";

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
  throw ConfigError({"--offload-dir: " + path + " " + why});
}

std::string owner_of(int file) {
  std::array<char, 32> text{};
  const ssize_t size = ::pread(file, text.data(), text.size(), 0);
  return size > 0 ? "pid " + std::string(text.data(), static_cast<std::size_t>(size)) : "another";
}

// Whether the name still is this file: who left in between has removed it.
bool is_named(int file, const std::string& name) {
  struct stat mine {
  }, named{};
  return ::fstat(file, &mine) == 0 && ::stat(name.c_str(), &named) == 0 &&
         mine.st_ino == named.st_ino && mine.st_dev == named.st_dev;
}

// A file left by a killed run is no obstacle: its lock went with it.
int lock(const std::string& path) {
  const std::string name = path + lock_name;
  for (;;) {
    const int file = ::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0) refuse(path, std::string("cannot be written (") + std::strerror(errno) + ")");
    if (::flock(file, LOCK_EX | LOCK_NB) != 0) {
      const bool held = errno == EWOULDBLOCK;
      const std::string why =
          held ? "is in use by a run (" + owner_of(file) + "): give each run a folder of its own"
               : std::string("cannot be locked (") + std::strerror(errno) + ")";
      ::close(file);
      refuse(path, why);
    }
    if (is_named(file, name)) return file;
    ::close(file);
  }
}

void sign(int file) {
  const std::string pid = std::to_string(::getpid());
  // Who finds nothing in it says "another".
  if (::ftruncate(file, 0) == 0) (void)!::pwrite(file, pid.data(), pid.size(), 0);
}

void remove_leftovers(const std::string& path) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(path, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(passing_name)) std::filesystem::remove(entry.path(), ignored);
  }
}

}  // namespace

OffloadFolder::OffloadFolder(const FileTierConfig& config) : path_(config.offload_dir) {
  if (path_.empty()) throw ConfigError({"--offload-dir: got nothing, need a folder"});
  struct stat info {};
  if (::stat(path_.c_str(), &info) != 0) {
    refuse(path_, std::string("cannot be used (") + std::strerror(errno) + ")");
  }
  if (!S_ISDIR(info.st_mode)) refuse(path_, "is no folder");
  if (!config.offload_dir_any) {
    const std::string why = unfit_file_system(path_, system_calls());
    if (!why.empty()) refuse(path_, why);
  }
  lock_ = lock(path_);
  sign(lock_);
  remove_leftovers(path_);
}

OffloadFolder::OffloadFolder(OffloadFolder&& other) noexcept
    : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}

OffloadFolder::~OffloadFolder() {
  if (lock_ < 0) return;
  ::unlink((path_ + lock_name).c_str());  // while it is held, so that nobody else's goes
  ::close(lock_);
}

Bytes OffloadFolder::free() const { return system_calls().room(lock_); }

}  // namespace sherd::io
