#pragma once
// How attention to cached rows is cut, the same on every device, and where its parts lie in
// scratch.
#include <algorithm>

#include "sherd/kernels/attention_cached.hpp"

namespace sherd::kernels {

/// What one head of one new row makes of one chunk of keys: its maximum score, the sum of the
/// exponentials relative to it, and, from the 16th float on, their sum over the values.
struct CachedParts {
  static constexpr std::int64_t chunk = 64, header = 16;  // keys, floats
  std::int64_t rows = 0, heads = 0, head_dim = 0;
  std::int64_t chunks = 0;  // of a head

  constexpr CachedParts(const AttentionShape& shape, std::int64_t positions)
      : rows(shape.rows()),
        heads(shape.heads),
        head_dim(shape.head_dim),
        chunks(chunks_of(positions)) {}

  [[nodiscard]] static constexpr std::int64_t chunks_of(std::int64_t positions) {
    return (positions + chunk - 1) / chunk;
  }

  [[nodiscard]] constexpr std::int64_t stride() const { return header + (head_dim + 15) / 16 * 16; }
  [[nodiscard]] constexpr std::int64_t offset(std::int64_t row, std::int64_t head,
                                              std::int64_t part) const {
    return ((row * heads + head) * chunks + part) * stride();
  }
  [[nodiscard]] constexpr std::int64_t floats() const { return rows * heads * chunks * stride(); }
};

/// Positions that new row `row` of all rows sees, its own included.
[[nodiscard]] constexpr std::int64_t cached_seen(const AttentionShape& shape,
                                                 std::int64_t positions, std::int64_t row) {
  return positions - shape.length + row % shape.length + 1;
}

}  // namespace sherd::kernels
