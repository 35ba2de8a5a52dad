#pragma once
// The machine a plan is for, which may not be the one that plans.
#include <cstdint>

#include "sherd/base/dtype.hpp"

namespace sherd {

enum class DeviceKind : std::uint8_t { cpu, cuda };

struct Target {
  DeviceKind kind = DeviceKind::cpu;
  DType compute = DType::f32;  // of parameters and activations in forward and backward
  int threads = 1;             // of the compute lane
};

}  // namespace sherd
