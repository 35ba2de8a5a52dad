#pragma once
// Heads that turn, as the kernels of rotary embedding see them: a head belongs to a group of 1, 2,
// 4, 8 or 16 neighbouring threads, each with eight pairs.
#include <bit>

#include "cuda/device/queue.hpp"
#include "cuda/kernels/row_cut.cuh"
#include "cuda/kernels/row_sums.cuh"
#include "cuda/kernels/run.cuh"
#include "sherd/kernels/rotary_math.hpp"

namespace sherd::cuda {

using namespace sherd::kernels;  // NOLINT: the arguments' types are theirs

inline constexpr unsigned turn_threads = 256;

struct TurningRows {
  std::int64_t rows = 0, length = 0;
  unsigned heads = 0, turning = 0;  // of queries; of queries and keys
  int head_dim = 0, pairs = 0;
  unsigned group = 1;  // threads of a head

  explicit TurningRows(const AttentionShape& s)
      : rows(s.rows()),
        length(s.length),
        heads(static_cast<unsigned>(s.heads)),
        turning(static_cast<unsigned>(s.heads + s.key_heads())),
        head_dim(static_cast<int>(s.head_dim)),
        pairs(static_cast<int>(s.head_dim / 2)),
        group(std::bit_ceil(static_cast<unsigned>(ceil_div(s.head_dim / 2, pack)))) {}
  __device__ const float* turns_of(const float* turns, unsigned row) const {
    return turns + std::int64_t{row % static_cast<unsigned>(length)} * head_dim;
  }
};
/// Heads lie on borders of whole accesses, or are read element by element.
inline Operand head_rows(const View& view, const TurningRows& at) {
  Operand rows(view);
  rows.wide = rows.wide && at.pairs % pack == 0;
  return rows;
}

/// Eight pairs of one head: elements i and i + pairs.
struct HeadPairs {
  float first[pack] = {}, second[pack] = {};

  __device__ void load(const Operand& row, std::int64_t at, int pairs, int count) {
    const Packed near = fetch(row, at, count), far = fetch(row, at + pairs, count);
    widen(near, row.type, first);
    widen(far, row.type, second);
  }
  __device__ void store(const Operand& row, std::int64_t at, int pairs, int count) const {
    put(row, at, count, narrow(first, row.type));
    put(row, at + pairs, count, narrow(second, row.type));
  }
  /// By the angles of the position whose turns lie at `turns`, or back by them.
  template <bool back>
  __device__ void turn(const float* turns, int pairs, int count) {
#pragma unroll
    for (int i = 0; i < pack; ++i) {
      if (i >= count) continue;
      const Turn by{turns[i], turns[i + pairs]};
      const Pair x{first[i], second[i]};
      const Pair y = back ? rotate_back(x, by) : rotate(x, by);
      first[i] = y.first;
      second[i] = y.second;
    }
  }
};

/// Over the threads of a head; every thread of the warp takes part.
__device__ inline float head_sum(float x, unsigned group) {
  for (unsigned width = group / 2; width > 0; width /= 2)
    x += __shfl_xor_sync(0xffffffffu, x, width);
  return x;
}

/// turns: [length, head_dim], cosines of a position's pairs, then their sines.
void fill_turns(const Rotary& rotary, const TurningRows& at, std::int64_t first_position,
                float* turns, cudaStream_t on);
/// Turns every head of q and k, or turns it back, and carries v over.
template <bool back>
void turn_heads(const View& from, const View& to, const AttentionShape& shape, const float* turns,
                cudaStream_t on);
/// v alone, where rows are not in place.
void carry_values(const View& from, const View& to, const AttentionShape& shape, cudaStream_t on);

}  // namespace sherd::cuda
