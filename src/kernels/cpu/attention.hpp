#pragma once
// How attention is cut into tiles, the memory of one worker, and the row arithmetic on tiles.
#include "kernels/cpu/panel.hpp"
#include "sherd/kernels/attention.hpp"

namespace sherd::kernels::cpu {

/// Queries and keys of a score tile.
inline constexpr std::int64_t attention_tile = 64;

/// Queries × keys, rows `attention_tile` apart. Above the diagonal nothing is seen.
struct ScoreTile {
  float* scores = nullptr;
  std::int64_t rows = 0, cols = 0;
  bool diagonal = false;  // row r sees columns 0 … r only

  [[nodiscard]] std::int64_t seen(std::int64_t row) const {
    return diagonal ? std::min(row + 1, cols) : cols;
  }
};

/// What the queries of a tile have seen so far; `out` is not yet divided by `sum`.
struct RunningRows {
  float *maximum, *sum, *out;
  std::int64_t head_dim, out_stride;
};

/// scores become exp(score - maximum); the state moves to the new maximum. `first`: no state yet.
/// **Source** Dao et al. 2022, Algorithm 1, lines 10 to 13.
void fold_scores(const ScoreTile& tile, const RunningRows& state, bool first);

/// scores become p = exp(score - lse), d_scores become p · (d_scores - delta) · scale.
/// **Source** Dao et al. 2022, Algorithm 4, lines 13 to 20.
struct ScoreGradient {
  float* d_scores;  // as scores
  const float *lse, *delta;
  float scale;
};
void score_gradient(const ScoreTile& tile, const ScoreGradient& gradient);

/// sum[r] = a[r] · b[r] over `cols`; rows `stride` apart.
void row_dots(const float* a, const float* b, Shape block, std::int64_t stride, float* sum);

/// Where one (sequence, head) lies.
struct HeadPlace {
  std::int64_t sequence = 0, head = 0;
  std::int64_t first_row = 0;               // of the sequence
  std::int64_t col = 0;                     // of the head's q in qkv, and of its out
  std::int64_t key_col = 0, value_col = 0;  // of the key head it shares
};
[[nodiscard]] inline HeadPlace head_place(const AttentionShape& shape, std::int64_t index) {
  const std::int64_t sequence = index / shape.heads, head = index % shape.heads;
  const std::int64_t shared = shape.width() + head / shape.group() * shape.head_dim;
  return {sequence,
          head,
          sequence * shape.length,
          head * shape.head_dim,
          shared,
          shared + shape.kv_width()};
}

/// Floats of one worker, a whole number of cache lines.
[[nodiscard]] std::int64_t forward_floats(const AttentionShape& shape);
[[nodiscard]] std::int64_t backward_floats(const AttentionShape& shape);
/// Floats of the backward pass that workers share: d_k and d_v of heads whose group is not summed.
[[nodiscard]] std::int64_t shared_floats(const AttentionShape& shape, int threads);

void attention(const AttentionArgs& args, StreamRef stream);
void attention_backward(const AttentionBackwardArgs& args, StreamRef stream);

}  // namespace sherd::kernels::cpu
