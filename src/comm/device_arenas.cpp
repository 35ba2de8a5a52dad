#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "sherd/base/errors.hpp"
#include "sherd/comm/local.hpp"

namespace sherd::comm {
namespace {

// What a rank's file holds.
struct Announced {
  Bytes size = 0;
  device::PeerHandle handle{};
};

class DeviceArenas final : public PeerArenas {
 public:
  DeviceArenas(const device::OpenDevice& device, std::vector<int> fds)
      : device_(device), fds_(std::move(fds)), opened_(fds_.size()) {}
  ~DeviceArenas() override {
    for (const std::span<std::byte> arena : opened_) {
      if (!arena.empty()) device_.driver->close_peer(arena.data());
    }
  }

  void publish(Rank rank, std::span<std::byte> arena) override {
    if (arena.empty()) return;
    const Announced own{arena.size(), device_.driver->name_for_peers(arena.data())};
    const int fd = fds_.at(static_cast<std::size_t>(rank));
    if (pwrite(fd, &own, sizeof own, 0) != static_cast<ssize_t>(sizeof own)) {
      throw CommError(std::string("cannot announce the device arena to the other ranks: ") +
                      std::strerror(errno));
    }
  }
  const std::byte* window(Rank rank, Bytes offset, Bytes size) override {
    std::span<std::byte>& arena = opened_.at(static_cast<std::size_t>(rank));
    if (arena.empty()) arena = open(rank);
    if (offset > arena.size() || size > arena.size() - offset) {
      throw CommError("the arena of rank " + std::to_string(rank) + " holds " +
                      std::to_string(arena.size()) + " bytes, need " +
                      std::to_string(offset + size) + ": the plans differ");
    }
    return arena.data() + offset;
  }
  void drop(const std::byte*, Bytes) noexcept override {}
  void read(Rank, Bytes, std::span<std::byte>) override {
    throw_usage("device_arenas: got a read into host memory, need a copy on a stream");
  }

 private:
  std::span<std::byte> open(Rank rank) {
    Announced peer;
    const int fd = fds_.at(static_cast<std::size_t>(rank));
    if (pread(fd, &peer, sizeof peer, 0) != static_cast<ssize_t>(sizeof peer) || peer.size == 0)
      throw CommError("rank " + std::to_string(rank) + " has announced no device arena");
    return {device_.driver->open_peer(peer.handle), peer.size};
  }

  const device::OpenDevice& device_;
  std::vector<int> fds_;
  std::vector<std::span<std::byte>> opened_;
};

}  // namespace

std::shared_ptr<PeerArenas> device_arenas(const device::OpenDevice& device, std::vector<int> fds) {
  return std::make_shared<DeviceArenas>(device, std::move(fds));
}

}  // namespace sherd::comm
