#include "sherd/io/storage.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>

namespace sherd::io {
namespace {

int answer_of(int result) { return result < 0 ? -errno : result; }

template <class Call>
auto uninterrupted(Call&& call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

// Where it is refused, the page cache serves.
void bypass_cache(int file) {
  const int now = ::fcntl(file, F_GETFL);
  if (now >= 0) (void)::fcntl(file, F_SETFL, now | O_DIRECT);
}

}  // namespace

int Storage::make_folder(const std::string& path) { return answer_of(::mkdir(path.c_str(), 0700)); }

int Storage::create(const std::string& path, Cache cache) {
  const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  const int file = uninterrupted([&] { return ::open(path.c_str(), flags, 0600); });
  if (file < 0) return -errno;
  if (cache == Cache::past) bypass_cache(file);
  return file;
}

int Storage::open(const std::string& path, Cache cache) {
  // Without O_NONBLOCK, opening a pipe would wait for its writer.
  const int flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
  const int file = uninterrupted([&] { return ::open(path.c_str(), flags); });
  if (file < 0) return -errno;
  struct stat info {};
  if (::fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(file);
    return -EINVAL;
  }
  if (cache == Cache::past) bypass_cache(file);
  return file;
}

int Storage::open_folder(const std::string& path) {
  return answer_of(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

int Storage::close(int file) { return answer_of(::close(file)); }

int Storage::reserve(int file, Bytes size) {
  if (size == 0) return 0;
  const int done = uninterrupted([&] { return ::fallocate(file, 0, 0, static_cast<off_t>(size)); });
  // File systems that cannot reserve find out when they write.
  return done < 0 && errno != EOPNOTSUPP ? -errno : 0;
}

std::int64_t Storage::size(int file) {
  struct stat info {};
  return ::fstat(file, &info) == 0 ? info.st_size : -errno;
}

std::int64_t Storage::write(int file, Bytes offset, std::span<const std::byte> from) {
  const auto done = uninterrupted(
      [&] { return ::pwrite(file, from.data(), from.size(), static_cast<off_t>(offset)); });
  return done < 0 ? -errno : done;
}

std::int64_t Storage::read(int file, Bytes offset, std::span<std::byte> into) {
  const auto done = uninterrupted(
      [&] { return ::pread(file, into.data(), into.size(), static_cast<off_t>(offset)); });
  return done < 0 ? -errno : done;
}

// A failed sync is final: the kernel may have dropped what it could not write.
int Storage::sync(int file) { return answer_of(::fsync(file)); }

int Storage::lock(int folder) {
  return answer_of(uninterrupted([&] { return ::flock(folder, LOCK_EX | LOCK_NB); }));
}

int Storage::rename(const std::string& from, const std::string& to) {
  const int done = ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE);
  if (done == 0 || (errno != EINVAL && errno != ENOSYS)) return answer_of(done);
  // File systems without the flag: a folder that is not empty is never replaced by rename(2).
  return ::access(to.c_str(), F_OK) == 0 ? -EEXIST : answer_of(::rename(from.c_str(), to.c_str()));
}

int Storage::exchange(const std::string& one, const std::string& other) {
  const int done =
      answer_of(::renameat2(AT_FDCWD, one.c_str(), AT_FDCWD, other.c_str(), RENAME_EXCHANGE));
  return done == -ENOSYS ? -EINVAL : done;
}

int Storage::remove(const std::string& path) {
  if (::unlink(path.c_str()) == 0) return 0;
  if (errno != EISDIR && errno != EPERM) return -errno;
  return answer_of(::rmdir(path.c_str()));
}

int Storage::list(const std::string& folder, std::vector<std::string>& names) {
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::opendir(folder.c_str()), ::closedir);
  if (!stream) return -errno;
  errno = 0;
  while (const dirent* entry = ::readdir(stream.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
    errno = 0;
  }
  return -errno;
}

std::int64_t Storage::room(const std::string& folder) {
  struct statvfs info {};
  if (::statvfs(folder.c_str(), &info) != 0) return -errno;
  return static_cast<std::int64_t>(info.f_bavail * info.f_frsize);
}

Storage& storage() {
  static Storage system;
  return system;
}

}  // namespace sherd::io
