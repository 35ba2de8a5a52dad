#pragma once
// Memory of the emulated devices. An address handed out lies in a region nobody can touch, and the
// bytes are mapped elsewhere, so a host that follows a device address crashes here as on a GPU.
#include <map>
#include <shared_mutex>

#include "sherd/device/driver.hpp"

namespace sherd::emulator {

/// Where an address belongs.
enum class Side : std::uint8_t { device, pinned, pageable };

/// All that this process has of any device.
class Memory {
 public:
  static Memory& of_process();
  Memory() = default;
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  /// **Errors** CapacityError: the device's limit, or the machine's.
  std::byte* allocate(int device, Bytes size, Bytes limit);
  std::byte* pin(Bytes size);
  void release(std::byte* at) noexcept;
  [[nodiscard]] Bytes used(int device) const;

  [[nodiscard]] device::PeerHandle name_for_peers(const std::byte* allocation) const;
  std::byte* open_peer(const device::PeerHandle& handle);

  [[nodiscard]] Side side_of(const std::byte* at) const;
  /// Where `size` bytes really are. **Errors** DeviceError: not one allocation's, or pageable.
  [[nodiscard]] std::byte* real(const std::byte* at, Bytes size) const;

 private:
  struct Piece {
    Bytes size = 0;
    std::byte* bytes = nullptr;
    int fd = -1;      // of device memory
    int device = -1;  // that it counts for; -1: pinned, or a peer's
    bool pinned = false;
  };
  std::byte* map(Piece piece);
  [[nodiscard]] const std::pair<std::byte* const, Piece>* find(const std::byte* at) const;

  mutable std::shared_mutex mutex_;
  std::map<std::byte*, Piece> pieces_;  // by the address handed out
};

}  // namespace sherd::emulator
