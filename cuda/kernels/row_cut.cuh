#pragma once
// Some columns of rows, a pack a thread, every block within one row.
#include "cuda/kernels/access.cuh"

namespace sherd::cuda {

/// Columns [first, first + count) of every row.
inline Operand columns(const View& view, std::int64_t first, std::int64_t count) {
  View part = view;
  part.data += static_cast<Bytes>(first) * size_of(view.type);
  part.shape.cols = count;
  part.pitch = view.row_pitch();
  return Operand(part);
}

inline unsigned blocks_of(const RowBlocks& cut, std::int64_t rows) {
  return static_cast<unsigned>(cut.each_row * rows);
}
struct PlaceInRow {
  std::int64_t row, at;
  int count;  // 0 or less behind the end
};
__device__ inline PlaceInRow place_in_row(unsigned each_row, std::int64_t cols) {
  const std::int64_t row = blockIdx.x / each_row;
  const std::int64_t at = (std::int64_t{blockIdx.x % each_row} * blockDim.x + threadIdx.x) * pack;
  return {row, at, at < cols ? elements_at(at / pack, cols) : 0};
}

}  // namespace sherd::cuda
