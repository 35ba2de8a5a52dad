#pragma once
// A small owned matrix for kernel tests: typed bytes, read and written as doubles.
#include <cstring>
#include <random>
#include <vector>

#include "sherd/base/view.hpp"

namespace sherd::test {

/// Half a unit in the last place, relative.
[[nodiscard]] inline double half_ulp(DType type) {
  return type == DType::bf16 ? 0x1p-8 : type == DType::f16 ? 0x1p-11 : 0x1p-24;
}

class Tensor {
 public:
  Tensor() = default;
  /// Seed 0: zeros; else normal values of the type.
  Tensor(Shape shape, DType type, unsigned seed, double deviation = 1)
      : shape_(shape),
        type_(type),
        bytes_(static_cast<std::size_t>(shape.numel()) * size_of(type) + 128) {
    if (seed == 0) return;
    std::mt19937 engine(seed);
    std::normal_distribution<double> normal(0, deviation);
    for (std::int64_t i = 0; i < shape.numel(); ++i) put(0, i, normal(engine));
  }
  Tensor(const Tensor& other) { *this = other; }
  Tensor& operator=(const Tensor& other) {
    shape_ = other.shape_;
    type_ = other.type_;
    bytes_.assign(other.bytes_.size(), std::byte{0});
    if (other.begin() != nullptr) std::memcpy(begin(), other.begin(), size());
    return *this;
  }

  [[nodiscard]] View view() const { return {begin(), shape_, type_}; }
  [[nodiscard]] double at(std::int64_t row, std::int64_t col) const {
    const std::byte* p = place(row, col);
    if (type_ == DType::bf16) return to_float(read<bfloat16>(p));
    if (type_ == DType::f16) return to_float(read<float16>(p));
    return type_ == DType::f32 ? read<float>(p) : 0;
  }
  void put(std::int64_t row, std::int64_t col, double value) {
    const auto x = static_cast<float>(value);
    if (type_ == DType::bf16) write(place(row, col), to_bfloat16(x));
    if (type_ == DType::f16) write(place(row, col), to_float16(x));
    if (type_ == DType::f32) write(place(row, col), x);
  }
  [[nodiscard]] Tensor as(DType type) const {
    Tensor to(shape_, type, 0);
    for (std::int64_t i = 0; i < shape_.numel(); ++i) to.put(0, i, at(0, i));
    return to;
  }
  /// The same bits.
  bool operator==(const Tensor& other) const {
    return shape_ == other.shape_ && type_ == other.type_ &&
           std::memcmp(begin(), other.begin(), size()) == 0;
  }

 private:
  [[nodiscard]] std::size_t size() const {
    return static_cast<std::size_t>(shape_.numel()) * size_of(type_);
  }
  [[nodiscard]] std::byte* begin() const {
    if (bytes_.empty()) return nullptr;
    auto address = reinterpret_cast<std::uintptr_t>(bytes_.data());
    return const_cast<std::byte*>(bytes_.data()) + (64 - address % 64);
  }
  [[nodiscard]] std::byte* place(std::int64_t row, std::int64_t col) const {
    return begin() + static_cast<std::size_t>(row * shape_.cols + col) * size_of(type_);
  }
  template <class T>
  static T read(const std::byte* p) {
    T value;
    std::memcpy(&value, p, sizeof value);
    return value;
  }
  template <class T>
  static void write(std::byte* p, T value) {
    std::memcpy(p, &value, sizeof value);
  }

  Shape shape_{0, 0};
  DType type_ = DType::f32;
  std::vector<std::byte> bytes_;
};

}  // namespace sherd::test
