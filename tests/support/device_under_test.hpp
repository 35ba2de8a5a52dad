#pragma once
// The device that a test was built for: the emulated one, or a real one through libsherd_cuda.so.
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "sherd/base/errors.hpp"
#include "sherd/device/stream.hpp"

namespace sherd::test {

#ifndef SHERD_DEVICE_LIBRARY
#error "define SHERD_DEVICE_LIBRARY: the library that the test opens (sherd_device_test does)"
#endif
inline constexpr const char* device_library = SHERD_DEVICE_LIBRARY;

/// Why no test can run here; empty where one can. The emulated device never has an excuse.
[[nodiscard]] inline std::string why_skipped() {
  try {
    if (device::open_library(device_library).device->count() < 1) return "there is no device";
    return {};
  } catch (const DeviceError& error) {
    if (std::string(device_library).find("emulated") != std::string::npos) throw;
    return error.what();
  }
}

/// Skips a case by name where there is no device: ctest looks for this line.
#define SHERD_NEEDS_DEVICE()                                              \
  if (const std::string why = sherd::test::why_skipped(); !why.empty()) { \
    std::puts(("SKIP: " + why).c_str());                                  \
    return;                                                               \
  }

[[nodiscard]] inline device::OpenDevice open_device(int index = 0) {
  return device::open_device(device_library, index);
}

/// An allocation of the device, or pinned memory.
class Room {
 public:
  Room(const device::OpenDevice& device, device::Memory kind, Bytes size)
      : device_(device), kind_(kind), size_(size), at_(device.driver->allocate(kind, size)) {}
  ~Room() { device_.driver->release(kind_, at_); }
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;

  [[nodiscard]] std::span<std::byte> bytes() const { return {at_, size_}; }

 private:
  const device::OpenDevice& device_;
  device::Memory kind_;
  Bytes size_;
  std::byte* at_;
};

}  // namespace sherd::test
