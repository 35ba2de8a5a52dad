#pragma once
#include "sherd/device/workers.hpp"
#include "sherd/kernels/norm_layer.hpp"

namespace sherd::kernels::cpu {

/// Rows are summed in fixed blocks, each with its own partial column sums: at most 64 blocks.
[[nodiscard]] constexpr std::int64_t norm_block_rows(std::int64_t rows) {
  return rows <= 16 * 64 ? 16 : (rows + 63) / 64;
}
[[nodiscard]] constexpr std::int64_t norm_blocks(std::int64_t rows) {
  return (rows + norm_block_rows(rows) - 1) / norm_block_rows(rows);
}

void layer_norm(const LayerNormArgs& args, device::Workers& workers);
void layer_norm_backward(const LayerNormBackwardArgs& args, device::Workers& workers);

}  // namespace sherd::kernels::cpu
