#pragma once
// The device that a test was built for: the emulated one, or a real one through libsherd_cuda.so.
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "sherd/base/errors.hpp"
#include "sherd/base/view.hpp"
#include "sherd/device/stream.hpp"

namespace sherd::test {

/// The library that this program opens; device_library.cpp, compiled for each, says which.
extern const std::string_view device_library;
[[nodiscard]] inline bool is_emulated() {
  return device_library.find("libsherd_emulated") != std::string_view::npos;
}

/// Asked in a child of ours: the reason why nothing can run, empty for none. A library that is
/// there but does not open beside a CUDA driver is no reason but a failure.
inline int ask(int answer) {
  const std::string path(device_library);
  std::string why;
  int status = 0;
  try {
    if (device::open_library(path).device->count() < 1) why = "no device";
  } catch (const std::exception& error) {
    why = error.what();
    const bool is_there = access(path.c_str(), R_OK) == 0 && device::why_no_cuda_driver().empty();
    if (is_there && why.starts_with("cannot load")) status = 1;
  }
  return write(answer, why.data(), why.size()) == static_cast<ssize_t>(why.size()) ? status : 1;
}

/// Why no test can run here; empty where one can. The emulated device never has an excuse.
///
/// A child finds out, once: a process that has spoken to a GPU can no longer fork ranks.
[[nodiscard]] inline const std::string& why_skipped() {
  static const std::string reason = [] {
    if (is_emulated()) return std::string();
    std::array<int, 2> ends{};
    if (pipe(ends.data()) != 0) throw std::runtime_error("no pipe");
    const pid_t child = fork();
    if (child == 0) _exit(ask(ends[1]));
    close(ends[1]);
    std::array<char, 4096> text{};
    const ssize_t size = read(ends[0], text.data(), text.size());
    close(ends[0]);
    int status = -1;
    waitpid(child, &status, 0);
    std::string why(text.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
    if (status != 0) throw std::runtime_error("asking for a device failed: " + why);
    return why;
  }();
  return reason;
}

/// First in a case: skips it by name where there is no device; ctest looks for this line.
#define SHERD_NEEDS_DEVICE()                                                \
  do {                                                                      \
    if (const std::string why = sherd::test::why_skipped(); !why.empty()) { \
      std::puts(("SKIP: " + why).c_str());                                  \
      return;                                                               \
    }                                                                       \
  } while (false)

[[nodiscard]] inline device::OpenDevice open_device(int index = 0) {
  return device::open_device(std::string(device_library), index);
}

/// An allocation of the device, or pinned memory.
class Room {
 public:
  Room(const device::OpenDevice& device, device::Memory kind, Bytes size)
      : device_(&device), kind_(kind), size_(size), at_(device.driver->allocate(kind, size)) {}
  Room(Room&& other) noexcept
      : device_(other.device_),
        kind_(other.kind_),
        size_(other.size_),
        at_(std::exchange(other.at_, nullptr)) {}
  Room& operator=(Room&&) = delete;
  ~Room() {
    if (at_ != nullptr) device_->driver->release(kind_, at_);
  }

  [[nodiscard]] std::span<std::byte> bytes() const { return {at_, size_}; }
  [[nodiscard]] View view(Shape shape, DType type, Bytes offset = 0) const {
    return {at_ + offset, shape, type};
  }

 private:
  const device::OpenDevice* device_;
  device::Memory kind_;
  Bytes size_;
  std::byte* at_;
};

}  // namespace sherd::test
