#pragma once
// Tiles of attention in shared memory and the small products on them. Thread (y, x) of 16 × 16 owns
// rows y·each … of its tile and, of scores, columns x, x + 16, …; of heads, 4 columns every 64.
#include "cuda/kernels/attention_layout.hpp"
#include "cuda/kernels/typed.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::cuda {

inline constexpr int tile_threads = 256;

__device__ __forceinline__ int tile_y() { return static_cast<int>(threadIdx.x) / 16; }
__device__ __forceinline__ int tile_x() { return static_cast<int>(threadIdx.x) % 16; }

__device__ __forceinline__ FourWords four(const float* at) {
  return *reinterpret_cast<const FourWords*>(at);
}

/// One head's columns in rows of a matrix.
struct HeadRows {
  Elements from{};
  std::int64_t first_row = 0, col = 0;  // of the sequence, of the head
  std::int64_t length = 0, head_dim = 0;
};

/// Rows `first` … of the head to shared memory, zeros past the end of either kind. The block waits
/// before it reads.
template <class T>
__device__ void load_strip(const HeadRows& head, std::int64_t first, float* to) {
  for (int i = static_cast<int>(threadIdx.x); i < T::rows * T::dim; i += tile_threads) {
    const int row = i / T::dim, col = i % T::dim;
    const bool inside = first + row < head.length && col < head.head_dim;
    const std::int64_t at = (head.first_row + first + row) * head.from.pitch + head.col + col;
    to[row * T::pitch + col] = inside ? load(head.from, at) : 0.0f;
  }
}

/// Rows `first` … of the head from what its owners hold, inside the head.
template <class T>
__device__ void store_strip(const float (&sum)[T::each][T::dim / 16], const HeadRows& head,
                            std::int64_t first) {
#pragma unroll
  for (int i = 0; i < T::each; ++i) {
    const std::int64_t row = first + tile_y() * T::each + i;
    if (row >= head.length) continue;
    const std::int64_t at = (head.first_row + row) * head.from.pitch + head.col;
#pragma unroll
    for (int c = 0; c < T::dim / 16; ++c) {
      const int col = c / 4 * 64 + tile_x() * 4 + c % 4;
      if (col < head.head_dim) store(head.from, at + col, sum[i][c]);
    }
  }
}

/// scores[i][j] = row y·each + i of a · row x + 16j of b.
template <class T>
__device__ void dot_rows(const float* a, const float* b, float (&scores)[T::each][T::each]) {
#pragma unroll
  for (int i = 0; i < T::each; ++i) {
#pragma unroll
    for (int j = 0; j < T::each; ++j) scores[i][j] = 0;
  }
  const float *left = a + tile_y() * T::each * T::pitch, *right = b + tile_x() * T::pitch;
#pragma unroll 4
  for (int c = 0; c < T::dim; c += 4) {
    FourWords p[T::each], q[T::each];
#pragma unroll
    for (int i = 0; i < T::each; ++i) p[i] = four(left + i * T::pitch + c);
#pragma unroll
    for (int j = 0; j < T::each; ++j) q[j] = four(right + 16 * j * T::pitch + c);
#pragma unroll
    for (int e = 0; e < 4; ++e) {
#pragma unroll
      for (int i = 0; i < T::each; ++i) {
#pragma unroll
        for (int j = 0; j < T::each; ++j) {
          scores[i][j] = ::fmaf(p[i].at[e], q[j].at[e], scores[i][j]);
        }
      }
    }
  }
}

/// Own rows of a score tile to shared memory.
template <class T>
__device__ void store_scores(const float (&scores)[T::each][T::each], float* to) {
#pragma unroll
  for (int i = 0; i < T::each; ++i) {
#pragma unroll
    for (int j = 0; j < T::each; ++j) {
      to[(tile_y() * T::each + i) * T::square + tile_x() + 16 * j] = scores[i][j];
    }
  }
}

template <class T>
__device__ __forceinline__ void add_scaled(const float (&weight)[T::each], const float* row,
                                           float (&sum)[T::each][T::dim / 16]) {
#pragma unroll
  for (int c = 0; c < T::dim / 64; ++c) {
    const FourWords v = four(row + c * 64 + tile_x() * 4);
#pragma unroll
    for (int i = 0; i < T::each; ++i) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        sum[i][c * 4 + e] = ::fmaf(weight[i], v.at[e], sum[i][c * 4 + e]);
      }
    }
  }
}

/// sum[i] += Σ_k weights[y·each + i][k] · strip[k]: k ascending.
template <class T>
__device__ void add_rows(const float* weights, const float* strip,
                         float (&sum)[T::each][T::dim / 16]) {
#pragma unroll 1
  for (int k = 0; k < T::rows; k += 4) {
    FourWords w[T::each];
#pragma unroll
    for (int i = 0; i < T::each; ++i)
      w[i] = four(weights + (tile_y() * T::each + i) * T::square + k);
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      float weight[T::each];
#pragma unroll
      for (int i = 0; i < T::each; ++i) weight[i] = w[i].at[e];
      add_scaled<T>(weight, strip + (k + e) * T::pitch, sum);
    }
  }
}
/// sum[i] += Σ_k weights[k][y·each + i] · strip[k]: k ascending.
template <class T>
__device__ void add_columns(const float* weights, const float* strip,
                            float (&sum)[T::each][T::dim / 16]) {
#pragma unroll 4
  for (int k = 0; k < T::rows; ++k) {
    float weight[T::each];
#pragma unroll
    for (int i = 0; i < T::each; ++i) weight[i] = weights[k * T::square + tile_y() * T::each + i];
    add_scaled<T>(weight, strip + k * T::pitch, sum);
  }
}

/// `launch` with the smallest tile that holds a head. **Errors** UsageError past `largest_head`.
template <class Launch>
void with_tile(std::int64_t head_dim, const Launch& launch) {
  expects(head_dim <= largest_head,
          "attention: got a head of more than 256 elements, need at most 256 on a device");
  if (head_dim <= 64) {
    launch(Tile<64>{});
  } else if (head_dim <= 128) {
    launch(Tile<128>{});
  } else {
    launch(Tile<256>{});
  }
}

}  // namespace sherd::cuda
