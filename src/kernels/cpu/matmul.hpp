#pragma once
// How a product is cut into tiles and what they need; every number is a function of the shape.
#include <algorithm>

#include "sherd/kernels/matmul.hpp"

namespace sherd::kernels::cpu {

/// Rows and columns of an output tile, and how much of k is widened at a time.
struct Tiling {
  std::int64_t rows = 0, cols = 0, depth = 0;
};
inline constexpr Tiling largest_tile{512, 768, 480};
[[nodiscard]] Tiling tiling(std::int64_t m, std::int64_t n, std::int64_t k);

/// Floats of one worker's panels and tile; each a whole number of cache lines.
struct PanelSizes {
  std::int64_t a = 0, b = 0, c = 0;
  [[nodiscard]] std::int64_t total() const { return a + b + c; }
};
enum class Operands : std::uint8_t { in_place, through_panels };
[[nodiscard]] PanelSizes panel_sizes(const Tiling& largest, Operands operands, DType out);

/// Rows at least this long are slow to walk across (4 KiB multiples at half the rate), so fp32
/// operands with such rows are copied into panels too.
inline constexpr std::int64_t long_row = 512;

[[nodiscard]] inline bool is_half(DType type) { return type == DType::bf16 || type == DType::f16; }
[[nodiscard]] inline bool is_float(DType type) { return type == DType::f32 || is_half(type); }

void matmul(const MatmulArgs& args, StreamRef stream);
void bias_gradient(View d_out, const Grad& to, StreamRef stream);

}  // namespace sherd::kernels::cpu
