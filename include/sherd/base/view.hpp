#pragma once
// Typed, shaped windows on memory somebody else owns.
#include <cstddef>
#include <cstdint>
#include <span>

#include "sherd/base/dtype.hpp"
#include "sherd/base/units.hpp"

namespace sherd {

struct Shape {
  std::int64_t rows = 1, cols = 1;
  [[nodiscard]] constexpr std::int64_t numel() const { return rows * cols; }
  bool operator==(const Shape&) const = default;
};

/// Row-major; no data means "absent". Contiguous unless it has a pitch, which only products take,
/// and losses on a device: columns of a matrix, or rows of odd length on aligned addresses.
struct View {
  std::byte* data = nullptr;
  Shape shape{0, 0};
  DType type = DType::f32;
  std::int64_t pitch = 0;  // elements from row to row; 0: as many as there are columns

  [[nodiscard]] explicit operator bool() const { return data != nullptr; }
  [[nodiscard]] std::int64_t numel() const { return shape.numel(); }
  [[nodiscard]] std::int64_t row_pitch() const { return pitch > 0 ? pitch : shape.cols; }
  [[nodiscard]] Bytes bytes() const {  // from the first element to behind the last one
    if (shape.rows == 0) return 0;
    return bytes_of(type, static_cast<std::uint64_t>((shape.rows - 1) * row_pitch() + shape.cols));
  }
  [[nodiscard]] std::span<std::byte> raw() const { return {data, bytes()}; }

  template <class T>
  [[nodiscard]] T* as() const {
    return reinterpret_cast<T*>(data);
  }
  template <class T>
  [[nodiscard]] std::span<T> span() const {
    return {as<T>(), static_cast<std::size_t>(numel())};
  }

  /// Rows [first, first + count).
  [[nodiscard]] View rows(std::int64_t first, std::int64_t count) const {
    return {data + static_cast<Bytes>(first * row_pitch()) * size_of(type),
            {count, shape.cols},
            type,
            pitch};
  }
  /// Columns [first, first + count).
  [[nodiscard]] View columns(std::int64_t first, std::int64_t count) const {
    const std::int64_t apart = row_pitch();
    return {data + static_cast<Bytes>(first) * size_of(type),
            {shape.rows, count},
            type,
            apart == count ? 0 : apart};
  }
  /// The same bytes under another shape of equal numel.
  [[nodiscard]] View reshaped(Shape to) const { return {data, to, type}; }
};

/// Does a result start here, or accumulate?
enum class Write : std::uint8_t { set, add };

}  // namespace sherd
