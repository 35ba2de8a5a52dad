#pragma once
// Sums over rows in an order that no thread count changes: fixed blocks of rows, each with its own
// partial sums, which are then added in order.
#include "sherd/device/workers.hpp"
#include "sherd/kernels/grad.hpp"

namespace sherd::kernels::cpu {

/// Rows of one partial sum: there are at most 64.
[[nodiscard]] constexpr std::int64_t sum_block_rows(std::int64_t rows) {
  return rows <= 16 * 64 ? 16 : (rows + 63) / 64;
}
[[nodiscard]] constexpr std::int64_t sum_blocks(std::int64_t rows) {
  return (rows + sum_block_rows(rows) - 1) / sum_block_rows(rows);
}

/// `count` partial sums of a column, `stride` floats apart.
struct Partials {
  const float* from = nullptr;
  std::int64_t count = 0, stride = 0;
};
/// Stores the sums of the gradient's columns, if there is one.
void store_column_sums(const Partials& partials, const Grad& grad, device::Workers& workers);

}  // namespace sherd::kernels::cpu
