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

/// Row-major, contiguous; no data means "absent".
struct View {
  std::byte* data = nullptr;
  Shape shape{0, 0};
  DType type = DType::f32;

  [[nodiscard]] explicit operator bool() const { return data != nullptr; }
  [[nodiscard]] std::int64_t numel() const { return shape.numel(); }
  [[nodiscard]] Bytes bytes() const { return static_cast<Bytes>(numel()) * size_of(type); }
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
    return {
        data + static_cast<Bytes>(first * shape.cols) * size_of(type), {count, shape.cols}, type};
  }
  /// The same bytes under another shape of equal numel.
  [[nodiscard]] View reshaped(Shape to) const { return {data, to, type}; }
};

/// Does a result start here, or accumulate?
enum class Write : std::uint8_t { set, add };

}  // namespace sherd
