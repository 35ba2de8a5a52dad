#pragma once
// What libraries take for themselves, declared per kind of device: a constant of the target, never
// measured by a plan.
#include "sherd/base/units.hpp"
#include "sherd/device/target.hpp"

namespace sherd::plan {

/// CPU: the program with its libraries, plus GEMM packing buffers and a stack for each thread.
[[nodiscard]] constexpr Bytes runtime_reserve(const Target& target) {
  return 24 * mib + 9 * mib * static_cast<Bytes>(target.threads);
}

}  // namespace sherd::plan
