#pragma once
// What this machine can do at most, measured in the run that quotes it.
#include <cstddef>
#include <cstdint>
#include <span>

#include "sherd/base/view.hpp"
#include "sherd/bench/timing.hpp"
#include "sherd/device/stream.hpp"

namespace sherd::bench {

/// to = from, a contiguous part for each thread; moves 2 · from.size() bytes.
void copy_bytes(std::span<const std::byte> from, std::span<std::byte> to, StreamRef stream);
/// The same by portions of 512 KiB, which threads take as they come: too short to pass the caches.
void copy_portions(std::span<const std::byte> from, std::span<std::byte> to, StreamRef stream);

/// Reads every byte, a contiguous part for each thread; what it returns depends on all of them.
///
/// **Shapes** whole 64-byte lines.
std::uint64_t read_bytes(std::span<const std::byte> from, StreamRef stream);

/// a = a · 1 + 0, likewise b and c, in one sweep as an optimizer makes it; values stay, the bytes
/// move: 24 per element.
///
/// **Shapes** a, b, c [1, n] fp32.
void touch_three(View a, View b, View c, StreamRef stream);

/// out[m,n] = a[m,k] · b[k,n] or, transposed, b[n,k].
struct GemmShape {
  std::int64_t m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false;
  std::int64_t times = 1;  // in what is bounded, a training step say
  [[nodiscard]] double flops() const {
    return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  }
};

/// One fp32 product by the library with its own `threads` threads: nothing of ours in the way.
void library_gemm(const GemmShape& shape, const float* a, const float* b, float* out, int threads);

/// The same once, timed over rounds on operands of its own.
[[nodiscard]] Timing time_gemm(const GemmShape& shape, int threads, int rounds);

/// Seconds that all of `shapes`, each `times` over, take at the library's own rates.
[[nodiscard]] double gemm_seconds(std::span<const GemmShape> shapes, int threads, int rounds);

}  // namespace sherd::bench
