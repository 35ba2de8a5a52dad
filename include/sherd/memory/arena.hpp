#pragma once
// The one allocation of a tier: mapped and populated at start, so lack of memory shows before step
// 0.
#include <cstddef>
#include <span>

#include "sherd/base/units.hpp"
#include "sherd/device/driver.hpp"

namespace sherd::memory {

/// Owns a zeroed mapping, page aligned, resident from the start.
///
/// **Errors** CapacityError when the machine refuses the memory.
class Arena {
 public:
  /// Private to this process.
  static Arena anonymous(Bytes size);
  /// Backed by `fd` (a memfd, sized here; not owned), so that peers can map it at the same offsets.
  static Arena shared(int fd, Bytes size);
  /// Memory of a device, or pinned host memory that it copies from and to. `driver` outlives it.
  static Arena on(device::Driver& driver, device::Memory kind, Bytes size);

  Arena() = default;
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&& other) noexcept;
  ~Arena();

  [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }

 private:
  explicit Arena(std::span<std::byte> bytes) : bytes_(bytes) {}
  std::span<std::byte> bytes_;
  device::Driver* driver_ = nullptr;  // null: mapped
  device::Memory kind_ = device::Memory::device;
};

}  // namespace sherd::memory
