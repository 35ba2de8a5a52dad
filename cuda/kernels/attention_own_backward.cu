// Source: Dao et al. 2022, "FlashAttention", Algorithm 4, as two passes: one for d_k and d_v, one
// for d_q, so that every sum has one owner and one order.
#include <cmath>

#include "cuda/device/check.hpp"
#include "cuda/device/queue.hpp"
#include "cuda/kernels/attention_own.hpp"
#include "cuda/kernels/attention_tiles.cuh"
#include "sherd/kernels/exp_math.hpp"

namespace sherd::cuda {
namespace {

struct Call {
  HeadLayout at{};
  Elements qkv{}, out{}, d_out{}, d_qkv{};
  const float* lse = nullptr;
  float* delta = nullptr;  // [sequences·heads, length]: rowsum(d_out ∘ out)
  float scale = 1;
  std::int64_t tiles = 0;
};

constexpr int delta_threads = 256;

// A warp a row of a head.
__global__ void __launch_bounds__(delta_threads) fill_delta(Call call) {
  const HeadLayout& at = call.at;
  const auto lane = static_cast<int>(threadIdx.x % 32);
  const std::int64_t index =
      static_cast<std::int64_t>(blockIdx.x) * (delta_threads / 32) + threadIdx.x / 32;
  const std::int64_t row = index / at.heads, head = index % at.heads;
  if (row >= at.sequences * at.length) return;
  float sum = 0;
  for (std::int64_t c = lane; c < at.head_dim; c += 32) {
    const std::int64_t col = head * at.head_dim + c;
    sum = ::fmaf(load(call.out, row * call.out.pitch + col),
                 load(call.d_out, row * call.d_out.pitch + col), sum);
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  const std::int64_t sequence = row / at.length, place = row % at.length;
  if (lane == 0) call.delta[(sequence * at.heads + head) * at.length + place] = sum;
}

/// The strips of one pair of tiles in shared memory.
struct Strips {
  const float *q = nullptr, *k = nullptr, *v = nullptr, *d_out = nullptr;
};

// scores become p = exp(score - lse), slopes become p · (d_p - delta) · scale; unseen: zero.
template <class T>
__device__ void differentiate(const Call& call, const Strips& at, std::int64_t sums,
                              std::int64_t query_tile, std::int64_t key_tile,
                              float (&scores)[T::each][T::each],
                              float (&slopes)[T::each][T::each]) {
  dot_rows<T>(at.q, at.k, scores);
  dot_rows<T>(at.d_out, at.v, slopes);
#pragma unroll
  for (int i = 0; i < T::each; ++i) {
    const std::int64_t query = query_tile * T::rows + tile_y() * T::each + i;
    const bool exists = query < call.at.length;
    const float lse = exists ? call.lse[sums + query] : 0;
    const float delta = exists ? call.delta[sums + query] : 0;
#pragma unroll
    for (int j = 0; j < T::each; ++j) {
      const std::int64_t key = key_tile * T::rows + tile_x() + 16 * j;
      const bool seen = exists && key <= query;
      const float p = seen ? kernels::exp_f32(::fmaf(scores[i][j], call.scale, -lse)) : 0.0f;
      scores[i][j] = p;
      slopes[i][j] = seen ? p * (slopes[i][j] - delta) * call.scale : 0.0f;
    }
  }
}

template <class T>
__device__ void clear(float (&sum)[T::each][T::dim / 16]) {
#pragma unroll
  for (int i = 0; i < T::each; ++i) {
#pragma unroll
    for (int c = 0; c < T::dim / 16; ++c) sum[i][c] = 0;
  }
}

/// The columns of one head in rows of one sequence.
__device__ HeadRows head_rows(const Call& call, const Elements& from, std::int64_t sequence,
                              std::int64_t col) {
  return {from, sequence * call.at.length, col, call.at.length, call.at.head_dim};
}

// One tile of keys of one key head against all queries that see it.
template <class T>
__global__ void __launch_bounds__(tile_threads) backward_keys(Call call) {
  extern __shared__ __align__(16) float shared[];
  float *k = shared, *v = k + T::strip_floats, *q = v + T::strip_floats,
        *d_out = q + T::strip_floats, *weights = d_out + T::strip_floats,
        *slopes = weights + T::score_floats;
  const HeadLayout& at = call.at;
  const std::int64_t all_heads = at.sequences * at.kv_heads, index = blockIdx.x % all_heads;
  const std::int64_t sequence = index / at.kv_heads, kv_head = index % at.kv_heads;
  const std::int64_t tile = blockIdx.x / all_heads;  // seen by most first
  const std::int64_t key_col = at.key_column() + kv_head * at.head_dim;
  const std::int64_t value_col = at.value_column() + kv_head * at.head_dim;
  load_strip<T>(head_rows(call, call.qkv, sequence, key_col), tile * T::rows, k);
  load_strip<T>(head_rows(call, call.qkv, sequence, value_col), tile * T::rows, v);
  float d_k[T::each][T::dim / 16], d_v[T::each][T::dim / 16];
  clear<T>(d_k);
  clear<T>(d_v);
  for (std::int64_t head = kv_head * at.group(); head < (kv_head + 1) * at.group(); ++head) {
    const std::int64_t col = head * at.head_dim, sums = (sequence * at.heads + head) * at.length;
    for (std::int64_t i = tile; i < call.tiles; ++i) {
      __syncthreads();  // the strips and scores of the queries before have been read
      load_strip<T>(head_rows(call, call.qkv, sequence, col), i * T::rows, q);
      load_strip<T>(head_rows(call, call.d_out, sequence, col), i * T::rows, d_out);
      __syncthreads();
      float p[T::each][T::each], d_p[T::each][T::each];
      differentiate<T>(call, {q, k, v, d_out}, sums, i, tile, p, d_p);
      store_scores<T>(p, weights);
      store_scores<T>(d_p, slopes);
      __syncthreads();
      add_columns<T>(weights, d_out, d_v);
      add_columns<T>(slopes, q, d_k);
    }
  }
  store_strip<T>(d_k, head_rows(call, call.d_qkv, sequence, key_col), tile * T::rows);
  store_strip<T>(d_v, head_rows(call, call.d_qkv, sequence, value_col), tile * T::rows);
}

// One tile of queries of one head against all keys it sees.
template <class T>
__global__ void __launch_bounds__(tile_threads) backward_queries(Call call) {
  extern __shared__ __align__(16) float shared[];
  float *k = shared, *v = k + T::strip_floats, *q = v + T::strip_floats,
        *d_out = q + T::strip_floats, *slopes = d_out + T::strip_floats;
  const HeadLayout& at = call.at;
  const std::int64_t all_heads = at.sequences * at.heads, index = blockIdx.x % all_heads;
  const std::int64_t sequence = index / at.heads, head = index % at.heads;
  const std::int64_t tile = call.tiles - 1 - blockIdx.x / all_heads;  // long rows first
  const std::int64_t col = head * at.head_dim, kv_col = head / at.group() * at.head_dim;
  load_strip<T>(head_rows(call, call.qkv, sequence, col), tile * T::rows, q);
  load_strip<T>(head_rows(call, call.d_out, sequence, col), tile * T::rows, d_out);
  float d_q[T::each][T::dim / 16];
  clear<T>(d_q);
  for (std::int64_t j = 0; j <= tile; ++j) {
    __syncthreads();  // the keys and slopes before have been read
    load_strip<T>(head_rows(call, call.qkv, sequence, at.key_column() + kv_col), j * T::rows, k);
    load_strip<T>(head_rows(call, call.qkv, sequence, at.value_column() + kv_col), j * T::rows, v);
    __syncthreads();
    float p[T::each][T::each], d_p[T::each][T::each];
    differentiate<T>(call, {q, k, v, d_out}, index * at.length, tile, j, p, d_p);
    store_scores<T>(d_p, slopes);
    __syncthreads();
    add_rows<T>(slopes, k, d_q);
  }
  store_strip<T>(d_q, head_rows(call, call.d_qkv, sequence, col), tile * T::rows);
}

template <class Kernel>
void launch(Kernel* kernel, std::int64_t blocks, int bytes, const Call& call, cudaStream_t stream) {
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
        "attention_backward (shared memory)");
  kernel<<<static_cast<unsigned>(blocks), tile_threads, static_cast<std::size_t>(bytes), stream>>>(
      call);
  check_launch("attention_backward");
}

}  // namespace

void own_attention_backward(const kernels::AttentionBackwardArgs& args, StreamRef stream) {
  Call call;
  const HeadLayout& at = call.at = head_layout(args.shape);
  call.qkv = elements(args.qkv);
  call.out = elements(args.out);
  call.d_out = elements(args.d_out);
  call.d_qkv = elements(args.d_qkv);
  call.lse = args.lse.as<const float>();
  call.delta = args.scratch.as<float>();
  call.scale = 1 / std::sqrt(static_cast<float>(at.head_dim));
  with_tile(at.head_dim, [&](auto tile) {
    using T = decltype(tile);
    constexpr int warps = delta_threads / 32;
    const std::int64_t sums = at.sequences * at.length * at.heads;
    fill_delta<<<static_cast<unsigned>((sums + warps - 1) / warps), delta_threads, 0,
                 stream_of(stream)>>>(call);
    check_launch("attention_backward (delta)");
    call.tiles = (at.length + T::rows - 1) / T::rows;
    const std::int64_t each_head = at.sequences * call.tiles;
    launch(backward_keys<T>, each_head * at.kv_heads, T::backward_bytes, call, stream_of(stream));
    launch(backward_queries<T>, each_head * at.heads, T::backward_bytes, call, stream_of(stream));
  });
}

}  // namespace sherd::cuda
