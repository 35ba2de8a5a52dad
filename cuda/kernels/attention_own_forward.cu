// Source: Dao et al. 2022, "FlashAttention", Algorithm 1, one block of 256 threads a tile of
// queries.
#include <cmath>
#include <limits>

#include "cuda/device/check.hpp"
#include "cuda/device/queue.hpp"
#include "cuda/kernels/attention_own.hpp"
#include "cuda/kernels/attention_tiles.cuh"
#include "sherd/kernels/exp_math.hpp"

namespace sherd::cuda {
namespace {

struct Call {
  HeadLayout at{};
  Elements qkv{}, out{};
  float* lse = nullptr;
  float scale = 1;
  std::int64_t tiles = 0;
};

// The 16 threads of a row are half a warp.
__device__ __forceinline__ float row_max(float x) {
#pragma unroll
  for (int step = 8; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step));
  return x;
}
__device__ __forceinline__ float row_sum(float x) {
#pragma unroll
  for (int step = 8; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
  return x;
}

/// What the rows of a thread have seen so far; `out` is not yet divided by `sum`.
template <class T>
struct Rows {
  float maximum[T::each], sum[T::each], out[T::each][T::dim / 16];
};

// scores become weights relative to the new maximum; the state moves there.
template <class T>
__device__ void fold(float (&scores)[T::each][T::each], float scale, bool diagonal,
                     Rows<T>& state) {
#pragma unroll
  for (int i = 0; i < T::each; ++i) {
    float most = state.maximum[i];
#pragma unroll
    for (int j = 0; j < T::each; ++j) {
      const bool unseen = diagonal && tile_x() + 16 * j > tile_y() * T::each + i;
      scores[i][j] = unseen ? -std::numeric_limits<float>::infinity() : scores[i][j] * scale;
      most = fmaxf(most, scores[i][j]);
    }
    most = row_max(most);
    float total = 0;
#pragma unroll
    for (int j = 0; j < T::each; ++j) {
      scores[i][j] = kernels::exp_f32(scores[i][j] - most);
      total += scores[i][j];
    }
    const float fade = kernels::exp_f32(state.maximum[i] - most);
    state.sum[i] = ::fmaf(state.sum[i], fade, row_sum(total));
    state.maximum[i] = most;
#pragma unroll
    for (int c = 0; c < T::dim / 16; ++c) state.out[i][c] *= fade;
  }
}

template <class T>
__global__ void __launch_bounds__(tile_threads) forward(Call call) {
  extern __shared__ __align__(16) float shared[];
  float *q = shared, *kv = q + T::strip_floats, *weights = kv + T::strip_floats;
  const HeadLayout& at = call.at;
  const std::int64_t all_heads = at.sequences * at.heads, index = blockIdx.x % all_heads;
  const std::int64_t sequence = index / at.heads, head = index % at.heads;
  const std::int64_t tile = call.tiles - 1 - blockIdx.x / all_heads;  // long rows first
  HeadRows rows{call.qkv, sequence * at.length, head * at.head_dim, at.length, at.head_dim};
  load_strip<T>(rows, tile * T::rows, q);
  const std::int64_t kv_col = head / at.group() * at.head_dim;
  Rows<T> state;
#pragma unroll
  for (int i = 0; i < T::each; ++i) {
    state.maximum[i] = -std::numeric_limits<float>::infinity();
    state.sum[i] = 0;
#pragma unroll
    for (int c = 0; c < T::dim / 16; ++c) state.out[i][c] = 0;
  }
  for (std::int64_t j = 0; j <= tile; ++j) {
    __syncthreads();  // v of the tile before has been read
    rows.col = at.key_column() + kv_col;
    load_strip<T>(rows, j * T::rows, kv);
    __syncthreads();
    float scores[T::each][T::each];
    dot_rows<T>(q, kv, scores);
    fold<T>(scores, call.scale, j == tile, state);
    store_scores<T>(scores, weights);
    __syncthreads();  // k has been read
    rows.col = at.value_column() + kv_col;
    load_strip<T>(rows, j * T::rows, kv);
    __syncthreads();
    add_rows<T>(weights, kv, state.out);
  }
#pragma unroll
  for (int i = 0; i < T::each; ++i) {
    const std::int64_t row = tile * T::rows + tile_y() * T::each + i;
    if (tile_x() == 0 && row < at.length) {
      call.lse[index * at.length + row] = state.maximum[i] + ::logf(state.sum[i]);
    }
    const float share = 1 / state.sum[i];
#pragma unroll
    for (int c = 0; c < T::dim / 16; ++c) state.out[i][c] *= share;
  }
  const HeadRows out{call.out, sequence * at.length, head * at.head_dim, at.length, at.head_dim};
  store_strip<T>(state.out, out, tile * T::rows);
}

}  // namespace

void own_attention(const kernels::AttentionArgs& args, StreamRef stream) {
  Call call;
  call.at = head_layout(args.shape);
  call.qkv = elements(args.qkv);
  call.out = elements(args.out);
  call.lse = args.lse.as<float>();
  call.scale = 1 / std::sqrt(static_cast<float>(call.at.head_dim));
  const cudaStream_t on = stream_of(stream);  // first: attributes are of the thread's device
  with_tile(call.at.head_dim, [&](auto tile) {
    using T = decltype(tile);
    call.tiles = (call.at.length + T::rows - 1) / T::rows;
    const auto blocks = static_cast<unsigned>(call.at.sequences * call.at.heads * call.tiles);
    check(cudaFuncSetAttribute(forward<T>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               T::forward_bytes),
          "attention (shared memory)");
    forward<T><<<blocks, tile_threads, T::forward_bytes, on>>>(call);
  });
  check_launch("attention");
}

}  // namespace sherd::cuda
