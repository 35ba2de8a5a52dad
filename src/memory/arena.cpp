#include "sherd/memory/arena.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "sherd/base/errors.hpp"

namespace sherd::memory {
namespace {

[[noreturn]] void refuse(Bytes size, const char* call) {
  throw CapacityError("memory: cannot get an arena of " + format_bytes(size) + " (" + call + ": " +
                      std::strerror(errno) + ")");
}

std::span<std::byte> map(Bytes size, int flags, int fd) {
  if (size == 0) return {};
  void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, flags | MAP_POPULATE, fd, 0);
  if (at == MAP_FAILED) refuse(size, "mmap");
  return {static_cast<std::byte*>(at), size};
}

}  // namespace

// Huge pages where the machine grants them: direct transfers pin far fewer.
Arena Arena::anonymous(Bytes size) {
  if (size == 0) return {};
  void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) refuse(size, "mmap");
  Arena arena({static_cast<std::byte*>(at), size});
  (void)madvise(at, size, MADV_HUGEPAGE);  // a wish
  if (madvise(at, size, MADV_POPULATE_WRITE) == 0) return arena;
  if (errno != EINVAL) refuse(size, "madvise");
  for (Bytes page = 0; page < size; page += 4096) {  // before Linux 5.14
    static_cast<volatile std::byte*>(at)[page] = std::byte{0};
  }
  return arena;
}

Arena Arena::shared(int fd, Bytes size) {
  // fallocate first: a full tmpfs then says so here instead of killing us at first touch.
  if (ftruncate(fd, static_cast<off_t>(size)) != 0) refuse(size, "ftruncate");
  if (size > 0) {
    if (const int code = posix_fallocate(fd, 0, static_cast<off_t>(size)); code != 0) {
      errno = code;
      refuse(size, "fallocate");
    }
  }
  return Arena(map(size, MAP_SHARED, fd));
}

Arena Arena::on(device::Driver& driver, device::Memory kind, Bytes size) {
  if (size == 0) return {};
  Arena arena({driver.allocate(kind, size), size});
  arena.driver_ = &driver;
  arena.kind_ = kind;
  return arena;
}

Arena::Arena(Arena&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})), driver_(other.driver_), kind_(other.kind_) {}

Arena& Arena::operator=(Arena&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(driver_, other.driver_);
  std::swap(kind_, other.kind_);
  return *this;
}

Arena::~Arena() {
  if (bytes_.empty()) return;
  if (driver_ != nullptr) {
    driver_->release(kind_, bytes_.data());
  } else {
    munmap(bytes_.data(), bytes_.size());
  }
}

}  // namespace sherd::memory
