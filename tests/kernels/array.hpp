#pragma once
// Arrays of any element type that tests fill from, and read back as, fp64.
#include <cstring>
#include <functional>
#include <vector>

#include "sherd/base/philox.hpp"
#include "sherd/base/view.hpp"
#include "sherd/device/stream.hpp"

namespace sherd::test {

/// Owns the memory of a view; guard bytes behind it show a write past the end.
class Array {
 public:
  Array(Shape shape, DType type) : type_(type), shape_(shape) {
    bytes_.assign(static_cast<std::size_t>(shape.numel()) * size_of(type) + guard, guard_byte);
  }
  Array(Shape shape, DType type, const std::function<double(std::int64_t)>& value)
      : Array(shape, type) {
    for (std::int64_t i = 0; i < shape.numel(); ++i) set(i, value(i));
  }

  [[nodiscard]] View view() { return {bytes_.data(), shape_, type_}; }
  [[nodiscard]] std::int64_t numel() const { return shape_.numel(); }
  [[nodiscard]] const std::vector<std::byte>& bytes() const { return bytes_; }
  [[nodiscard]] bool guarded() const {
    for (std::size_t i = bytes_.size() - guard; i < bytes_.size(); ++i) {
      if (bytes_[i] != guard_byte) return false;
    }
    return true;
  }

  void set(std::int64_t i, double value) {
    const auto x = static_cast<float>(value);
    if (type_ == DType::f32) return put(i, x);
    if (type_ == DType::bf16) return put(i, to_bfloat16(x));
    if (type_ == DType::f16) return put(i, to_float16(x));
    if (type_ == DType::i32) return put(i, static_cast<std::int32_t>(value));
    put(i, static_cast<std::int64_t>(value));
  }
  [[nodiscard]] double operator[](std::int64_t i) const {
    if (type_ == DType::f32) return static_cast<double>(take<float>(i));
    if (type_ == DType::bf16) return static_cast<double>(to_float(take<bfloat16>(i)));
    if (type_ == DType::f16) return static_cast<double>(to_float(take<float16>(i)));
    if (type_ == DType::i32) return take<std::int32_t>(i);
    return static_cast<double>(take<std::int64_t>(i));
  }
  bool operator==(const Array& other) const { return bytes_ == other.bytes_; }

 private:
  static constexpr std::size_t guard = 64;
  static constexpr std::byte guard_byte{0xa5};
  template <class T>
  void put(std::int64_t i, T value) {
    std::memcpy(bytes_.data() + static_cast<std::size_t>(i) * sizeof(T), &value, sizeof(T));
  }
  template <class T>
  [[nodiscard]] T take(std::int64_t i) const {
    T value;
    std::memcpy(&value, bytes_.data() + static_cast<std::size_t>(i) * sizeof(T), sizeof(T));
    return value;
  }

  DType type_;
  Shape shape_;
  std::vector<std::byte> bytes_;
};

/// Uniform in [-size, size), a pure function of (salt, i).
inline std::function<double(std::int64_t)> noise(std::uint64_t salt, double size = 1) {
  return [=](std::int64_t i) {
    const float u = philox_uniform({salt, 77}, static_cast<std::uint64_t>(i));
    return size * (2.0 * static_cast<double>(u) - 1.0);
  };
}
/// Scratch of so many bytes, filled with rubbish.
inline Array scratch(Bytes bytes) {
  return {{1, static_cast<std::int64_t>(bytes / 4 + 1)}, DType::f32, [](std::int64_t i) {
            return 1e30 + static_cast<double>(i);
          }};
}

/// Half a unit in the last place of a value of magnitude 1.
inline double half_ulp(DType type) {
  if (type == DType::bf16) return 1.0 / 256;
  if (type == DType::f16) return 1.0 / 2048;
  return 1.0 / (1 << 24);
}

inline constexpr DType float_types[] = {DType::f32, DType::bf16, DType::f16};

}  // namespace sherd::test
