#pragma once
// What libraries take for themselves, declared per kind of device: a constant of the target, never
// measured by a plan.
#include "sherd/base/units.hpp"
#include "sherd/device/target.hpp"

namespace sherd::plan {

// CUDA context, kernels, cuBLASLt, cuDNN and NCCL on the device. Declared and checked at start;
// no device has confirmed it yet.
inline constexpr Bytes cuda_reserve = 1536 * mib;

/// CPU: the program with its libraries, plus GEMM packing buffers and a stack for each thread.
/// CUDA: device memory that is not the arena's.
[[nodiscard]] constexpr Bytes runtime_reserve(const Target& target) {
  if (target.kind == DeviceKind::cuda) return cuda_reserve;
  return 24 * mib + 9 * mib * static_cast<Bytes>(target.threads);
}

}  // namespace sherd::plan
