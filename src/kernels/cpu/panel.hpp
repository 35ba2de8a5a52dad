#pragma once
// Blocks of fp32, bf16 or fp16 matrices, widened to fp32 and rounded back.
#include <cstdint>

#include "sherd/base/philox.hpp"
#include "sherd/base/view.hpp"

namespace sherd::kernels::cpu {

/// A block inside a row-major matrix; `stride` in elements.
template <class Byte>
struct Region {
  Byte* data = nullptr;
  DType type = DType::f32;
  std::int64_t stride = 0;

  [[nodiscard]] Region at(std::int64_t row, std::int64_t col) const {
    const auto skip = static_cast<std::size_t>(row * stride + col) * size_of(type);
    return {data + skip, type, stride};
  }
};
using Source = Region<const std::byte>;
using Sink = Region<std::byte>;
[[nodiscard]] inline Source source(const View& view) {
  return {view.data, view.type, view.row_pitch()};
}
[[nodiscard]] inline Sink sink(const View& view) {
  return {view.data, view.type, view.row_pitch()};
}

/// Columns padded to an odd number of cache lines, so rows never share a cache set.
[[nodiscard]] constexpr std::int64_t padded(std::int64_t cols) {
  return ((cols + 15) / 16 | 1) * 16;
}

void widen(Source from, Shape rows, float* to, std::int64_t to_stride);
/// sum[i] += from[i], one row.
void add_widened(Source from, float* sum, std::int64_t count);
/// To nearest even.
void narrow(const float* from, std::int64_t from_stride, Shape rows, Sink to);
/// One row; element i uses the random bits of first + i.
void narrow_stochastic(const float* from, bfloat16* to, std::int64_t count, Philox bits,
                       std::uint64_t first);

}  // namespace sherd::kernels::cpu
