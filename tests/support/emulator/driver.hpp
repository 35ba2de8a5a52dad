#pragma once
// The device row of the emulated library.
#include "sherd/device/driver.hpp"

namespace sherd::emulator {

[[nodiscard]] int count();
[[nodiscard]] std::unique_ptr<device::Driver> open(int index);

}  // namespace sherd::emulator
