#pragma once
// Scratch that the CUDA twins need, as formulas: never a query of the machine that plans. A twin
// whose library asks for more takes another path.
#include <algorithm>
#include <cstdint>

#include "sherd/kernels/attention.hpp"

namespace sherd::kernels::device_scratch {

inline constexpr Bytes matmul_workspace = 32 * mib;  // what cuBLASLt is recommended on Hopper
inline constexpr Bytes rounding_panel = 32 * mib;    // fp32 rows that wait for what follows

/// Rows of an fp32 product [m, n] that are finished at once.
[[nodiscard]] constexpr std::int64_t panel_rows(std::int64_t m, std::int64_t n) {
  const std::int64_t fit =
      static_cast<std::int64_t>(rounding_panel / 4) / std::max<std::int64_t>(n, 1);
  return std::clamp<std::int64_t>(fit, 1, std::max<std::int64_t>(m, 1));
}
[[nodiscard]] constexpr Bytes matmul(std::int64_t m, std::int64_t n, DType out) {
  const Bytes panel = static_cast<Bytes>(panel_rows(m, n) * n) * 4;
  return matmul_workspace + (out != DType::f32 ? round_up(panel, 256) : 0);
}

inline constexpr std::int64_t column_parts = 128;  // partial sums of a column
/// Rows of d_out in one partial sum.
[[nodiscard]] constexpr std::int64_t rows_per_part(std::int64_t rows) {
  return std::max<std::int64_t>(8, (rows + column_parts - 1) / column_parts);
}
[[nodiscard]] constexpr Bytes bias_gradient(std::int64_t cols) {
  return static_cast<Bytes>(column_parts * cols) * 4;
}
inline constexpr std::int64_t norm_parts = 256;
[[nodiscard]] constexpr Bytes layer_norm_backward(std::int64_t cols) {
  return static_cast<Bytes>(2 * norm_parts * cols) * 4;
}
[[nodiscard]] constexpr Bytes rms_norm_backward(std::int64_t cols) {
  return static_cast<Bytes>(norm_parts * cols) * 4;
}

/// Cosines and sines of every position.
[[nodiscard]] constexpr Bytes rotary(const AttentionShape& s) {
  return static_cast<Bytes>(s.length * s.head_dim) * 4;
}
inline constexpr std::int64_t rotary_parts = 512;
/// And partial sums of the gains' gradients.
[[nodiscard]] constexpr Bytes rotary_backward(const AttentionShape& s) {
  return rotary(s) + static_cast<Bytes>(2 * rotary_parts * s.head_dim) * 4;
}

/// Keys and positions of `count` tokens, sorted by radix: both arrays twice, and what CUB asks for.
[[nodiscard]] constexpr Bytes sort_storage(std::int64_t count) {
  return static_cast<Bytes>(count) * 16 + 2 * mib;
}
[[nodiscard]] constexpr Bytes embedding_backward(std::int64_t count) {
  return 4 * round_up(static_cast<Bytes>(count) * 4, 256) + sort_storage(count);
}

/// cuDNN's deterministic backward keeps a 16-bit matrix of scores, so it runs in slices of the
/// batch, and where heads share keys d_k and d_v of every query head; beside them a few hundred
/// bytes, here a mebibyte.
inline constexpr Bytes slice_limit = 512 * mib, attention_slack = 1 * mib;
[[nodiscard]] constexpr Bytes attention_backward_of(const AttentionShape& s,
                                                    std::int64_t sequences) {
  const std::int64_t length = (s.length + 127) / 128 * 128;
  const auto rows = static_cast<Bytes>(sequences * s.heads * length);
  const Bytes unsummed = s.group() == 1 ? 0 : rows * 8 * static_cast<Bytes>(s.head_dim);
  return rows * 2 * static_cast<Bytes>(length) + rows * 4 + unsummed + attention_slack;
}
/// Sequences of one call of attention's backward.
[[nodiscard]] constexpr std::int64_t attention_slice(const AttentionShape& s) {
  const Bytes one = std::max<Bytes>(attention_backward_of(s, 1) - attention_slack, 1);
  const auto fit = static_cast<std::int64_t>((slice_limit - attention_slack) / one);
  return std::clamp<std::int64_t>(fit, 1, std::max<std::int64_t>(s.sequences, 1));
}
[[nodiscard]] constexpr Bytes attention(const AttentionShape& /*shape*/) { return attention_slack; }
/// Or the sums of d_out·out, for our own kernel.
[[nodiscard]] constexpr Bytes attention_backward(const AttentionShape& s) {
  const auto sums = static_cast<Bytes>(s.sequences * s.heads * s.length) * 4;
  return std::max(attention_backward_of(s, attention_slice(s)), round_up(sums, 256));
}

}  // namespace sherd::kernels::device_scratch
