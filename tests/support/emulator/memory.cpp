#include "support/emulator/memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <mutex>

#include "sherd/base/errors.hpp"

namespace sherd::emulator {
namespace {

constexpr Bytes page = 4096;

struct Named {
  pid_t process = 0;
  int fd = -1;
  ino_t file = 0;  // the number may be another file's by now
};
static_assert(sizeof(Named) <= sizeof(device::PeerHandle));

std::byte* mapping(Bytes size, int protection, int flags, int fd) {
  void* at = mmap(nullptr, round_up(size, page), protection, flags, fd, 0);
  if (at == MAP_FAILED)
    throw CapacityError("emulated: out of memory for " + format_bytes(size) + ": " +
                        std::strerror(errno));
  return static_cast<std::byte*>(at);
}

}  // namespace

Memory& Memory::of_process() {
  static Memory memory;
  return memory;
}

std::byte* Memory::map(Piece piece) {
  piece.bytes = mapping(piece.size, PROT_READ | PROT_WRITE, MAP_SHARED, piece.fd);
  // A page more than asked for, so that neighbours never touch.
  std::byte* at =
      mapping(piece.size + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
  pieces_.emplace(at, piece);
  return at;
}

std::byte* Memory::allocate(int device, Bytes size, Bytes limit) {
  const Bytes taken = used(device), free = limit - std::min(limit, taken);
  if (size > free) {
    throw CapacityError("emulated: device " + std::to_string(device) + " has " +
                        format_bytes(free) + " free, need " + format_bytes(size));
  }
  const std::unique_lock lock(mutex_);
  const int fd = memfd_create("emulated device memory", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, static_cast<off_t>(round_up(std::max<Bytes>(size, 1), page))) != 0)
    throw CapacityError(std::string("emulated: no memory file: ") + std::strerror(errno));
  return map({.size = std::max<Bytes>(size, 1), .fd = fd, .device = device});
}

std::byte* Memory::pin(Bytes size) {
  const std::unique_lock lock(mutex_);
  Piece piece{.size = std::max<Bytes>(size, 1), .pinned = true};
  piece.bytes = mapping(piece.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  pieces_.emplace(piece.bytes, piece);
  return piece.bytes;
}

void Memory::release(std::byte* at) noexcept {
  const std::unique_lock lock(mutex_);
  const auto found = pieces_.find(at);
  if (found == pieces_.end()) return;
  const Piece& piece = found->second;
  munmap(piece.bytes, round_up(piece.size, page));
  if (!piece.pinned) munmap(at, round_up(piece.size + page, page));
  if (piece.fd >= 0) close(piece.fd);
  pieces_.erase(found);
}

Bytes Memory::used(int device) const {
  const std::shared_lock lock(mutex_);
  Bytes sum = 0;
  for (const auto& [at, piece] : pieces_) sum += piece.device == device ? piece.size : 0;
  return sum;
}

device::PeerHandle Memory::name_for_peers(const std::byte* allocation) const {
  const std::shared_lock lock(mutex_);
  const auto* found = find(allocation);
  if (found == nullptr || found->first != allocation || found->second.pinned)
    throw DeviceError("emulated: name_for_peers: not the start of a device allocation");
  struct stat status {};
  fstat(found->second.fd, &status);
  const Named name{getpid(), found->second.fd, status.st_ino};
  device::PeerHandle handle{};
  std::memcpy(handle.data(), &name, sizeof name);
  return handle;
}

std::byte* Memory::open_peer(const device::PeerHandle& handle) {
  Named name;
  std::memcpy(&name, handle.data(), sizeof name);
  const std::string path =
      "/proc/" + std::to_string(name.process) + "/fd/" + std::to_string(name.fd);
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  struct stat status {};
  if (fd < 0 || fstat(fd, &status) != 0 || status.st_ino != name.file) {
    if (fd >= 0) close(fd);
    throw CommError("emulated: a peer's device memory cannot be opened: its owner let it go");
  }
  const std::unique_lock lock(mutex_);
  return map({.size = static_cast<Bytes>(status.st_size), .fd = fd});
}

const std::pair<std::byte* const, Memory::Piece>* Memory::find(const std::byte* at) const {
  auto next = pieces_.upper_bound(const_cast<std::byte*>(at));
  if (next == pieces_.begin()) return nullptr;
  --next;
  return at < next->first + next->second.size ? &*next : nullptr;
}

Side Memory::side_of(const std::byte* at) const {
  const std::shared_lock lock(mutex_);
  const auto* found = find(at);
  if (found == nullptr) return Side::pageable;
  return found->second.pinned ? Side::pinned : Side::device;
}

std::byte* Memory::real(const std::byte* at, Bytes size) const {
  const std::shared_lock lock(mutex_);
  const auto* found = find(at);
  if (found == nullptr)
    throw DeviceError("emulated: an illegal memory access: not an address of the device");
  const auto offset = static_cast<Bytes>(at - found->first);
  if (size > found->second.size - offset) {
    throw DeviceError("emulated: an illegal memory access: " + std::to_string(size) +
                      " bytes where the allocation has " +
                      std::to_string(found->second.size - offset));
  }
  return found->second.bytes + offset;
}

}  // namespace sherd::emulator
