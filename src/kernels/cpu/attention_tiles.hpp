#pragma once
// The strips of q, k, v, out and their gradients that one tile of attention reads and writes.
#include "kernels/cpu/attention.hpp"
#include "kernels/cpu/gemm.hpp"

namespace sherd::kernels::cpu {

/// Hands out a worker's scratch, cache line by cache line.
class Carver {
 public:
  explicit Carver(float* begin) : begin_(begin) {}
  float* take(std::int64_t floats) {
    float* here = begin_ == nullptr ? nullptr : begin_ + used_;
    used_ += (floats + 15) / 16 * 16;
    return here;
  }
  [[nodiscard]] std::int64_t used() const { return used_; }

 private:
  float* begin_;  // null: only measures
  std::int64_t used_ = 0;
};

[[nodiscard]] inline std::int64_t tile_stride(const AttentionShape& shape) {
  return padded(shape.head_dim);
}
/// A strip of up to attention_tile rows of one head.
[[nodiscard]] inline std::int64_t tile_floats(const AttentionShape& shape) {
  return attention_tile * tile_stride(shape);
}

/// Rows of a head as fp32 in `room`. fp32 rows are copied too: where they lie, a whole qkv row
/// apart, the library walks across them at half the rate.
struct Strip {
  const float* data = nullptr;
  std::int64_t stride = 0, count = 0;
  [[nodiscard]] Operand operand(Transpose transpose = Transpose::no) const {
    return {data, stride, transpose};
  }
};
[[nodiscard]] inline Strip strip(Source head, std::int64_t first, Shape block, float* room) {
  widen(head.at(first, 0), block, room, padded(block.cols));
  return {room, padded(block.cols), block.rows};
}

/// Length cut into tiles: the first row and the number of rows of tile `index`.
struct Tiles {
  std::int64_t length = 0;
  [[nodiscard]] std::int64_t count() const {
    return (length + attention_tile - 1) / attention_tile;
  }
  [[nodiscard]] std::int64_t first(std::int64_t index) const { return index * attention_tile; }
  [[nodiscard]] std::int64_t rows(std::int64_t index) const {
    return std::min(attention_tile, length - first(index));
  }
};

}  // namespace sherd::kernels::cpu
