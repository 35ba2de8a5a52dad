// A block a chunk of keys of one key head: scores, their exponentials, and their sum over the
// values; then the chunks of a head are merged in order.
#include <limits>

#include "cuda/device/queue.hpp"
#include "cuda/kernels/row_cut.cuh"
#include "cuda/kernels/row_sums.cuh"
#include "cuda/kernels/run.cuh"
#include "cuda/kernels/twins.hpp"
#include "sherd/kernels/attention_cached_layout.hpp"
#include "sherd/kernels/exp_math.hpp"

namespace sherd::cuda {
namespace {

constexpr unsigned block_threads = 128, block_warps = block_threads / warp;
static_assert(CachedParts::chunk <= block_threads);

struct Cached {
  Operand query, keys, values, out;
  AttentionShape shape;
  CachedParts parts;
  std::int64_t positions, capacity;
  float* scratch;
  float scale;
  unsigned group;  // threads that share a row of keys, a pack each

  [[nodiscard]] __host__ __device__ std::int64_t seen(std::int64_t row) const {
    return cached_seen(shape, positions, row);
  }
};

/// The pack of this thread in a row of a head.
struct PackOfHead {
  unsigned lane, group;  // of the threads that share a row; which such group of the block
  std::int64_t at;
  int count;
  __device__ explicit PackOfHead(const Cached& args)
      : lane(threadIdx.x % args.group),
        group(threadIdx.x / args.group),
        at(std::int64_t{lane} * pack),
        count(at < args.shape.head_dim ? elements_at(at / pack, args.shape.head_dim) : 0) {}
};

/// scores[i] of keys [first, first + count) for the query of one head; behind them nothing.
__device__ void score_keys(const Cached& args, const PackOfHead& own, const float (&query)[pack],
                           std::int64_t first, std::int64_t column, int count, float* scores) {
  const unsigned groups = block_threads / args.group;
  for (unsigned begin = 0; begin < static_cast<unsigned>(count); begin += groups) {
    const unsigned i = begin + own.group;
    float key[pack] = {}, sum = 0;
    if (i < static_cast<unsigned>(count) && own.count > 0) {
      widen(fetch(args.keys.row(first + i), column + own.at, own.count), args.keys.type, key);
    }
#pragma unroll
    for (int k = 0; k < pack; ++k) sum = ::fmaf(query[k], key[k], sum);
    for (unsigned width = args.group / 2; width > 0; width /= 2)
      sum += __shfl_xor_sync(0xffffffffu, sum, width);
    if (own.lane == 0 && i < static_cast<unsigned>(count)) scores[i] = sum * args.scale;
  }
}

/// Largest of one value a thread, and the sum of another.
__device__ inline float block_largest(float x, float (&slots)[block_warps]) {
  x = warp_largest(x);
  if (threadIdx.x % warp == 0) slots[threadIdx.x / warp] = x;
  __syncthreads();
  float most = slots[0];
  for (unsigned i = 1; i < block_warps; ++i) most = slots[i] > most ? slots[i] : most;
  return most;
}

/// to[c] = Σ weights[i]·values[first + i][c]: each group of threads its rows, then the groups.
__device__ void add_values(const Cached& args, const PackOfHead& own, const float* weights,
                           std::int64_t first, std::int64_t column, int count, float* to) {
  __shared__ float sums[block_threads][pack + 1];
  const unsigned groups = block_threads / args.group;
  float sum[pack] = {};
  for (unsigned i = own.group; i < static_cast<unsigned>(count) && own.count > 0; i += groups) {
    float value[pack];
    widen(fetch(args.values.row(first + i), column + own.at, own.count), args.values.type, value);
#pragma unroll
    for (int k = 0; k < pack; ++k) sum[k] = ::fmaf(weights[i], value[k], sum[k]);
  }
#pragma unroll
  for (int k = 0; k < pack; ++k) sums[threadIdx.x][k] = sum[k];
  __syncthreads();
  for (unsigned c = threadIdx.x; c < static_cast<unsigned>(args.shape.head_dim);
       c += block_threads) {
    float total = 0;
    for (unsigned g = 0; g < groups; ++g) total += sums[g * args.group + c / pack][c % pack];
    to[c] = total;
  }
  __syncthreads();  // the next head writes these sums, scores and slots again
}

/// Bytes: the chunk's keys and values, once for each head of the group, from the caches after the
/// first.
__global__ void __launch_bounds__(block_threads) attend_kernel(Cached args) {
  __shared__ float scores[block_threads];
  __shared__ float largest[block_warps], totals[block_warps];
  const AttentionShape& shape = args.shape;
  const std::int64_t chunks = args.parts.chunks, index = blockIdx.x / chunks;
  const std::int64_t part = blockIdx.x % chunks, key_heads = shape.key_heads();
  const std::int64_t row = index / key_heads, key_head = index % key_heads;
  const std::int64_t begin = part * CachedParts::chunk, left = args.seen(row) - begin;
  if (left <= 0) return;
  const auto count = static_cast<int>(left < CachedParts::chunk ? left : CachedParts::chunk);
  const std::int64_t first = row / shape.length * args.capacity + begin;
  const std::int64_t column = key_head * shape.head_dim;
  const PackOfHead own(args);
  for (std::int64_t h = 0; h < shape.group(); ++h) {
    const std::int64_t head = key_head * shape.group() + h;
    float query[pack] = {};
    if (own.count > 0) {
      widen(fetch(args.query.row(row), head * shape.head_dim + own.at, own.count), args.query.type,
            query);
    }
    score_keys(args, own, query, first, column, count, scores);
    __syncthreads();
    const bool mine = threadIdx.x < static_cast<unsigned>(count);
    const float score = mine ? scores[threadIdx.x] : -std::numeric_limits<float>::infinity();
    const float most = block_largest(score, largest);
    const float weight = mine ? exp_f32(score - most) : 0.0f;
    const float total = row_sum<block_warps>(weight, totals);
    scores[threadIdx.x] = weight;
    __syncthreads();
    float* to = args.scratch + args.parts.offset(row, head, part);
    if (threadIdx.x == 0) {
      to[0] = most;
      to[1] = total;
    }
    add_values(args, own, scores, first, column, count, to + CachedParts::header);
  }
}

/// A block a head of a new row, a thread an element.
__global__ void __launch_bounds__(largest_cached_head) merge_kernel(Cached args) {
  const AttentionShape& shape = args.shape;
  const std::int64_t row = blockIdx.x / shape.heads, head = blockIdx.x % shape.heads;
  const std::int64_t chunks = CachedParts::chunks_of(args.seen(row));
  const float* parts = args.scratch + args.parts.offset(row, head, 0);
  const std::int64_t stride = args.parts.stride();
  float most = parts[0];
  for (std::int64_t k = 1; k < chunks; ++k) {
    const float other = parts[k * stride];
    most = other > most ? other : most;
  }
  const std::int64_t c = threadIdx.x;
  if (c >= shape.head_dim) return;
  float sum[pack] = {}, total = 0;
  for (std::int64_t k = 0; k < chunks; ++k) {
    const float weight = exp_f32(parts[k * stride] - most);
    total = ::fmaf(weight, parts[k * stride + 1], total);
    sum[0] = ::fmaf(weight, parts[k * stride + CachedParts::header + c], sum[0]);
  }
  sum[0] *= 1.0f / total;
  put(args.out.row(row), head * shape.head_dim + c, 1, narrow(sum, args.out.type));
}

/// Where new rows of keys, or of values, go.
struct Append {
  Operand from, to;
  std::int64_t length, capacity, first_position;
};
__global__ void __launch_bounds__(256)
    append_kernel(Append keys, Append values, unsigned each_row, std::int64_t cols) {
  Append args = keys;
  if (blockIdx.y != 0) args = values;
  const auto [row, at, count] = place_in_row(each_row, cols);
  if (count <= 0) return;
  const std::int64_t place =
      row / args.length * args.capacity + args.first_position + row % args.length;
  float x[pack];
  widen(fetch(args.from.row(row), at, count), args.from.type, x);
  put(args.to.row(place), at, count, narrow(x, args.to.type));
}

}  // namespace

void cache_append(const CacheAppendArgs& args, StreamRef stream) {
  const AttentionShape& shape = args.shape;
  const std::int64_t rows = shape.rows(), cols = shape.kv_width();
  if (rows == 0) return;
  const auto append = [&](std::int64_t first, const View& to) {
    return Append{columns(args.qkv, first, cols), Operand(to), shape.length, args.cache.capacity,
                  args.first_position};
  };
  const RowBlocks cut = row_blocks(cols);
  launch(append_kernel, dim3(blocks_of(cut, rows), 2), cut.threads, stream_of(stream),
         append(shape.width(), args.cache.keys), append(shape.width() + cols, args.cache.values),
         cut.each_row, cols);
  check_launch("cache_append (launch)");
}

void attention_cached(const AttentionCachedArgs& args, StreamRef stream) {
  const AttentionShape& shape = args.shape;
  const std::int64_t rows = shape.rows();
  if (rows == 0) return;
  // A head that is no whole number of packs begins off the border of an access.
  const auto heads_of = [&](const View& view) {
    Operand operand(view);
    operand.wide = operand.wide && shape.head_dim % pack == 0;
    return operand;
  };
  const Cached cached{heads_of(args.qkv),
                      heads_of(args.cache.keys),
                      heads_of(args.cache.values),
                      heads_of(args.out),
                      shape,
                      CachedParts(shape, args.positions),
                      args.positions,
                      args.cache.capacity,
                      args.scratch.as<float>(),
                      1.0f / ::sqrtf(static_cast<float>(shape.head_dim)),
                      std::bit_ceil(static_cast<unsigned>(ceil_div(shape.head_dim, pack)))};
  const cudaStream_t on = stream_of(stream);
  const std::int64_t blocks = rows * shape.key_heads() * cached.parts.chunks;
  launch(attend_kernel, static_cast<unsigned>(blocks), block_threads, on, cached);
  check_launch("attention_cached (launch)");
  const auto elements = static_cast<unsigned>(ceil_div(shape.head_dim, warp) * warp);
  launch(merge_kernel, static_cast<unsigned>(rows * shape.heads), elements, on, cached);
  check_launch("attention_cached (merge)");
}

}  // namespace sherd::cuda
