#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <utility>

#include "sherd/base/errors.hpp"
#include "sherd/comm/local.hpp"

namespace sherd::comm {
namespace {

constexpr std::uintptr_t page = 4096;

void check_range(Rank rank, Bytes held, Bytes offset, Bytes size) {
  if (offset <= held && size <= held - offset) return;
  throw CommError("the arena of rank " + std::to_string(rank) + " holds " + std::to_string(held) +
                  " bytes, need " + std::to_string(offset + size) + ": the plans differ");
}

class MappedArenas final : public PeerArenas {
 public:
  explicit MappedArenas(std::vector<int> fds) : fds_(std::move(fds)), maps_(fds_.size()) {
    for (const int fd : fds_) fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
  ~MappedArenas() override {
    for (const Map& map : maps_) {
      if (std::byte* at = map.at.load(); at != nullptr) munmap(at, map.size);
    }
  }
  void publish(Rank, std::span<std::byte>) override {}

  const std::byte* window(Rank rank, Bytes offset, Bytes size) override {
    Map& map = maps_.at(static_cast<std::size_t>(rank));
    std::byte* at = map.at.load(std::memory_order_acquire);
    if (at == nullptr) at = open(rank, map);
    check_range(rank, map.size, offset, size);
    return at + offset;
  }
  void drop(const std::byte* window, Bytes size) noexcept override {
    const auto first = reinterpret_cast<std::uintptr_t>(window) & ~(page - 1);
    const auto last = reinterpret_cast<std::uintptr_t>(window) + size;
    madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
  }
  // A plain copy is cheaper through the file than through page tables built for one reading.
  void read(Rank rank, Bytes offset, std::span<std::byte> to) override {
    while (!to.empty()) {
      const ssize_t got = pread(fds_.at(static_cast<std::size_t>(rank)), to.data(), to.size(),
                                static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) {
        throw CommError("cannot read the arena of rank " + std::to_string(rank) + ": " +
                        std::strerror(errno));
      }
      if (got == 0) check_range(rank, offset, offset, to.size());
      to = to.subspan(static_cast<std::size_t>(got));
      offset += static_cast<Bytes>(got);
    }
  }

 private:
  struct Map {
    std::atomic<std::byte*> at{nullptr};
    Bytes size = 0;
  };

  std::byte* open(Rank rank, Map& map) {
    const std::scoped_lock lock(mutex_);
    if (std::byte* at = map.at.load(std::memory_order_acquire); at != nullptr) return at;
    const int fd = fds_[static_cast<std::size_t>(rank)];
    struct stat status {};
    void* at = MAP_FAILED;
    if (fstat(fd, &status) == 0 && status.st_size > 0) {
      fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK);  // reading past a peer's new end would kill us
      at = mmap(nullptr, static_cast<Bytes>(status.st_size), PROT_READ, MAP_SHARED, fd, 0);
    }
    if (at == MAP_FAILED) {
      throw CommError("cannot map the arena of rank " + std::to_string(rank) + " (" +
                      std::to_string(status.st_size) + " bytes): " + std::strerror(errno));
    }
    map.size = static_cast<Bytes>(status.st_size);
    map.at.store(static_cast<std::byte*>(at), std::memory_order_release);
    return static_cast<std::byte*>(at);
  }

  std::vector<int> fds_;
  std::vector<Map> maps_;
  std::mutex mutex_;
};

class ThreadArenas final : public PeerArenas {
 public:
  explicit ThreadArenas(int world) : arenas_(static_cast<std::size_t>(world)) {}
  // No lock: peers read only after a meeting that follows publication.
  void publish(Rank rank, std::span<std::byte> arena) override {
    arenas_.at(static_cast<std::size_t>(rank)) = arena;
  }
  const std::byte* window(Rank rank, Bytes offset, Bytes size) override {
    const std::span<std::byte> arena = arenas_.at(static_cast<std::size_t>(rank));
    check_range(rank, arena.size(), offset, size);
    return arena.data() + offset;
  }
  void drop(const std::byte*, Bytes) noexcept override {}
  void read(Rank rank, Bytes offset, std::span<std::byte> to) override {
    std::memcpy(to.data(), window(rank, offset, to.size()), to.size());
  }

 private:
  std::vector<std::span<std::byte>> arenas_;
};

}  // namespace

std::shared_ptr<PeerArenas> mapped_arenas(std::vector<int> fds) {
  return std::make_shared<MappedArenas>(std::move(fds));
}

std::shared_ptr<PeerArenas> thread_arenas(int world) {
  expects(world >= 1, "thread_arenas: got no rank, need at least one");
  return std::make_shared<ThreadArenas>(world);
}

}  // namespace sherd::comm
