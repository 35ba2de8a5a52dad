#pragma once
// How element-wise work is cut, the same for every instruction set and thread count.
#ifndef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)  // no fma there: their bits would differ
#endif
#include <algorithm>
#include <cstdint>

#include "sherd/device/workers.hpp"

namespace sherd::kernels::cpu {

/// Elements widened to fp32 at a time; a few such buffers stay in the first-level cache.
inline constexpr std::int64_t block = 256;
/// Elements of one task.
inline constexpr std::int64_t chunk = 64 * block;

/// Runs task(first, count) over [0, total) in steps of `unit`.
template <class Task>
void run_chunks(device::Workers& workers, std::int64_t total, std::int64_t unit, Task&& task) {
  workers.run((total + unit - 1) / unit, [&](std::int64_t index, int) {
    task(index * unit, std::min(unit, total - index * unit));
  });
}

}  // namespace sherd::kernels::cpu
