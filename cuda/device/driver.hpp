#pragma once
// Opens devices through the CUDA runtime.
#include <string>

#include "sherd/device/driver.hpp"

namespace sherd::cuda {

/// **Errors** DeviceError: no driver, one older than this build's runtime, or no device.
[[nodiscard]] int count_devices();
/// "NVIDIA H200", without opening it.
[[nodiscard]] std::string name_device(int index);
/// **Errors** DeviceError, also where the library holds no code for the device.
[[nodiscard]] std::unique_ptr<device::Driver> open_device(int index);

}  // namespace sherd::cuda
