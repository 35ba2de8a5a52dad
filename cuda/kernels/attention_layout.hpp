#pragma once
// Where heads lie in packed rows, how attention is cut, and who computes it. Pure arithmetic.
#include "sherd/kernels/attention.hpp"
#include "sherd/kernels/device_scratch.hpp"

namespace sherd::cuda {

using kernels::AttentionShape;

/// Rows of qkv are q | k | v, heads side by side; `group` query heads share a key head.
struct HeadLayout {
  std::int64_t sequences = 0, length = 0, heads = 0, kv_heads = 0, head_dim = 0;

  [[nodiscard]] constexpr std::int64_t group() const { return heads / kv_heads; }
  [[nodiscard]] constexpr std::int64_t width() const { return heads * head_dim; }
  [[nodiscard]] constexpr std::int64_t key_column() const { return width(); }
  [[nodiscard]] constexpr std::int64_t value_column() const {
    return width() + kv_heads * head_dim;
  }
  [[nodiscard]] constexpr std::int64_t qkv_width() const {
    return width() + 2 * kv_heads * head_dim;
  }
  auto operator<=>(const HeadLayout&) const = default;
};
[[nodiscard]] constexpr HeadLayout head_layout(const AttentionShape& s) {
  return {s.sequences, s.length, s.heads, s.key_heads(), s.head_dim};
}

/// Our own kernels: tiles of `rows` queries or keys of a head of up to `dim` elements, 256 threads,
/// each `each` × `each` scores. Pitches keep 16-byte reads of neighbouring rows on different banks.
template <int head_elements>
struct Tile {
  static constexpr int dim = head_elements;
  static constexpr int rows = dim > 128 ? 32 : 64, each = rows / 16;
  static constexpr int pitch = dim + 4, square = rows + 4;
  static constexpr int strip_floats = rows * pitch, score_floats = rows * square;
  static constexpr int forward_bytes = 4 * (2 * strip_floats + score_floats);
  static constexpr int backward_bytes = 4 * (4 * strip_floats + 2 * score_floats);
};
inline constexpr std::int64_t largest_head = 256;
inline constexpr int shared_limit = 227 * 1024;  // of a block, compute capability 9.0
static_assert(Tile<64>::backward_bytes <= shared_limit &&
              Tile<128>::backward_bytes <= shared_limit &&
              Tile<256>::backward_bytes <= shared_limit);

/// Does the fused library compute attention of this shape and type? By nothing else, so bits do not
/// depend on luck: it wants 16-bit heads in 16-byte pieces and more than one token, and slices of
/// the sums on 16-byte borders.
[[nodiscard]] constexpr bool suits_library(const AttentionShape& s, DType type) {
  const bool half = type == DType::bf16 || type == DType::f16;
  const bool one_slice = kernels::device_scratch::attention_slice(s) >= s.sequences;
  return half && s.head_dim % 8 == 0 && s.head_dim <= 128 && s.length > 1 &&
         (one_slice || s.heads * s.length % 4 == 0);
}

}  // namespace sherd::cuda
