#pragma once
// A device library: one table of functions for each row of modules that it implements. Rows look
// their own up, so none knows another's.
#include <memory>
#include <string>

#include "sherd/device/driver.hpp"

namespace sherd::device {

/// Grows whenever a table or a type in one changes: library and program are built together.
inline constexpr int interface_version = 5;

struct Library {
  std::shared_ptr<void> handle{};  // keeps the code mapped
  const Interface* device = nullptr;
  const void* kernels = nullptr;  // kernels::Interface
  const void* optim = nullptr;    // optim::Interface
  const void* comm = nullptr;     // comm::Interface
};

/// The functions a library exports; each returns the address of a table, the first a version.
inline constexpr const char* library_symbols[] = {"sherd_interface_version", "sherd_device",
                                                  "sherd_kernels", "sherd_optim", "sherd_comm"};

/// **Errors** DeviceError: no such file, a library it needs is missing, or another version.
[[nodiscard]] Library open_library(const std::string& path);

/// Empty when the system has a CUDA driver; otherwise why not, in the loader's words.
[[nodiscard]] std::string why_no_cuda_driver();

/// A device with the library that drives it.
struct OpenDevice {
  Library library;
  std::unique_ptr<Driver> driver;
};
[[nodiscard]] OpenDevice open_device(const std::string& library_path, int index);

}  // namespace sherd::device
