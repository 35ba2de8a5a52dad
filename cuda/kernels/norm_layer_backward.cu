// Layer norm, backward. Sums of a row and of a column are in other orders than the CPU's, both
// fixed: a column is summed by parts, each over its rows in order, and then over the parts.
#include "cuda/device/queue.hpp"
#include "cuda/kernels/access.cuh"
#include "cuda/kernels/row_sums.cuh"
#include "cuda/kernels/run.cuh"
#include "cuda/kernels/twins.hpp"
#include "sherd/kernels/norm_layer.hpp"

namespace sherd::cuda {
namespace {

constexpr unsigned most_threads = 512, most_warps = most_threads / warp;

struct BackwardOperands {
  Operand in, d_out, gamma, residual, d_in;
  const float *mean, *rstd;
  float* partials;  // [parts, 2, cols], or null: no gradient of a parameter is wanted
  std::int64_t rows, cols;
};

/// Sums over the block, of the two products of each row taken together.
struct RowProducts {
  float weighted[norm_group] = {}, product[norm_group] = {};
};
__device__ inline void block_sum(RowProducts& sums, float (&slots)[2 * norm_group][most_warps]) {
  const unsigned index = threadIdx.x / warp, warps = blockDim.x / warp;
#pragma unroll
  for (int r = 0; r < norm_group; ++r) {
    const float weighted = warp_sum(sums.weighted[r]), product = warp_sum(sums.product[r]);
    if (threadIdx.x % warp == 0) {
      slots[2 * r][index] = weighted;
      slots[2 * r + 1][index] = product;
    }
  }
  __syncthreads();
#pragma unroll
  for (int r = 0; r < norm_group; ++r) {
    float weighted = 0, product = 0;
    for (unsigned i = 0; i < warps; ++i) {
      weighted += slots[2 * r][i];
      product += slots[2 * r + 1][i];
    }
    sums.weighted[r] = weighted;
    sums.product[r] = product;
  }
}

/// Eight elements of one row: x̂, and d_out·gamma.
struct BackwardPack {
  float hat[pack], d_out[pack], weighted[pack];

  __device__ BackwardPack(const BackwardOperands& args, const Packed& x, const Packed& dy,
                          const float (&gamma)[pack], std::int64_t row) {
    const float mean = args.mean[row], rstd = args.rstd[row];
    widen(x, args.in.type, hat);
    widen(dy, args.d_out.type, d_out);
#pragma unroll
    for (int i = 0; i < pack; ++i) {
      hat[i] = (hat[i] - mean) * rstd;
      weighted[i] = d_out[i] * gamma[i];  // zero behind the row's end, as gamma and d_out are
    }
  }
  __device__ void add_to(float& sum, float& product) const {
#pragma unroll
    for (int i = 0; i < pack; ++i) {
      sum += weighted[i];
      product = ::fmaf(weighted[i], hat[i], product);
    }
  }
  __device__ void add_to_columns(float (&gamma)[pack], float (&beta)[pack]) const {
#pragma unroll
    for (int i = 0; i < pack; ++i) {
      gamma[i] = ::fmaf(d_out[i], hat[i], gamma[i]);
      beta[i] += d_out[i];
    }
  }
  __device__ void store(const BackwardOperands& args, std::int64_t row, std::int64_t at, int count,
                        float mean_weighted, float mean_product, const Packed& residual) const {
    const float rstd = args.rstd[row];
    float dx[pack], r[pack];
    widen(residual, args.residual.type, r);
    const bool adds = args.residual.data != nullptr;
#pragma unroll
    for (int i = 0; i < pack; ++i) {
      dx[i] = rstd * ::fmaf(-hat[i], mean_product, weighted[i] - mean_weighted);
      if (adds) dx[i] = r[i] + dx[i];
    }
    put(args.d_in.row(row), at, count, narrow(dx, args.d_in.type));
  }
};

__device__ inline void store_partial(float* to, const float (&from)[pack], int count) {
#pragma unroll
  for (int i = 0; i < pack; ++i) {
    if (i < count) to[i] = from[i];
  }
}

/// A thread keeps its eight columns. Bytes an element: in + d_out + residual + d_in; the partial
/// sums add 8 bytes a column and part.
__global__ void __launch_bounds__(most_threads)
    backward_kernel(const __grid_constant__ BackwardOperands args) {
  __shared__ float slots[2][2 * norm_group][most_warps];
  const std::int64_t at = std::int64_t{threadIdx.x} * pack;
  const int count = at < args.cols ? elements_at(threadIdx.x, args.cols) : 0;
  const bool adds = count > 0 && args.residual.data != nullptr;
  const auto width = static_cast<float>(args.cols);
  float gamma[pack] = {}, d_gamma[pack] = {}, d_beta[pack] = {};
  if (count > 0) widen(fetch(args.gamma, at, count), args.gamma.type, gamma);
  int turn = 0;  // of the slots: those of the last turn may still be read
  for (std::int64_t first = std::int64_t{blockIdx.x} * norm_group; first < args.rows;
       first += std::int64_t{gridDim.x} * norm_group) {
    Packed x[norm_group] = {}, dy[norm_group] = {}, residual[norm_group] = {};
    RowProducts sums;
#pragma unroll
    for (int r = 0; r < norm_group; ++r) {
      if (count == 0 || first + r >= args.rows) continue;
      x[r] = fetch(args.in.row(first + r), at, count);
      dy[r] = fetch(args.d_out.row(first + r), at, count);
      if (adds) residual[r] = fetch(args.residual.row(first + r), at, count);
    }
#pragma unroll
    for (int r = 0; r < norm_group; ++r) {
      if (first + r >= args.rows) continue;
      const BackwardPack values(args, x[r], dy[r], gamma, first + r);
      values.add_to(sums.weighted[r], sums.product[r]);
      values.add_to_columns(d_gamma, d_beta);
    }
    if (args.d_in.data == nullptr) continue;
    block_sum(sums, slots[turn]);
    turn ^= 1;
#pragma unroll
    for (int r = 0; r < norm_group; ++r) {
      if (count == 0 || first + r >= args.rows) continue;
      const BackwardPack values(args, x[r], dy[r], gamma, first + r);
      values.store(args, first + r, at, count, sums.weighted[r] / width, sums.product[r] / width,
                   residual[r]);
    }
  }
  if (args.partials == nullptr) return;
  float* partial = args.partials + std::int64_t{blockIdx.x} * 2 * args.cols + at;
  store_partial(partial, d_gamma, count);
  store_partial(partial + args.cols, d_beta, count);
}

/// For rows too long for that: each is read twice, and partial sums stay in memory.
__global__ void __launch_bounds__(most_threads)
    long_backward_kernel(const __grid_constant__ BackwardOperands args) {
  __shared__ float slots[2][2 * norm_group][most_warps];
  const auto width = static_cast<float>(args.cols);
  const std::int64_t step = std::int64_t{blockDim.x} * pack, begin = threadIdx.x * pack;
  int turn = 0;
  for (std::int64_t row = blockIdx.x; row < args.rows; row += gridDim.x) {
    const Operand in = args.in.row(row), d_out = args.d_out.row(row);
    const auto values_at = [&](std::int64_t at, int count) {
      float gamma[pack];
      widen(fetch(args.gamma, at, count), args.gamma.type, gamma);
      return BackwardPack(args, fetch(in, at, count), fetch(d_out, at, count), gamma, row);
    };
    RowProducts sums;
    for (std::int64_t at = begin; at < args.cols; at += step) {
      values_at(at, elements_at(at / pack, args.cols)).add_to(sums.weighted[0], sums.product[0]);
    }
    block_sum(sums, slots[turn]);
    turn ^= 1;
    for (std::int64_t at = begin; at < args.cols; at += step) {
      const int count = elements_at(at / pack, args.cols);
      const BackwardPack values = values_at(at, count);
      if (args.partials != nullptr) {
        float* partial = args.partials + std::int64_t{blockIdx.x} * 2 * args.cols + at;
        float d_gamma[pack] = {}, d_beta[pack] = {};
#pragma unroll
        for (int i = 0; i < pack; ++i) {
          if (i >= count || row < gridDim.x) continue;  // nothing there at the part's first row
          d_gamma[i] = partial[i];
          d_beta[i] = partial[args.cols + i];
        }
        values.add_to_columns(d_gamma, d_beta);
        store_partial(partial, d_gamma, count);
        store_partial(partial + args.cols, d_beta, count);
      }
      if (args.d_in.data == nullptr) continue;
      const Packed residual =
          args.residual.data != nullptr ? fetch(args.residual.row(row), at, count) : Packed{};
      values.store(args, row, at, count, sums.weighted[0] / width, sums.product[0] / width,
                   residual);
    }
  }
}

constexpr unsigned column_groups = 8;

/// Adds the parts of a column: eight threads take every eighth part, then their sums in order.
__global__ void __launch_bounds__(warp* column_groups)
    column_sums_kernel(const float* partials, std::int64_t parts, std::int64_t cols, Grad d_gamma,
                       Grad d_beta) {
  __shared__ float sums[column_groups][warp];
  const Grad& to = blockIdx.y == 0 ? d_gamma : d_beta;
  if (to.to.data == nullptr) return;
  const std::int64_t col = std::int64_t{blockIdx.x} * warp + threadIdx.x;
  const float* from = partials + blockIdx.y * cols + col;
  float sum = 0;
#pragma unroll 8
  for (std::int64_t part = threadIdx.y; part < parts && col < cols; part += column_groups) {
    sum += from[part * 2 * cols];
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || col >= cols) return;
  for (unsigned i = 1; i < column_groups; ++i) sum += sums[i][threadIdx.x];
  store_gradient(to, col, sum);
}

}  // namespace

void layer_norm_backward(const LayerNormBackwardArgs& args, StreamRef stream) {
  const auto [rows, cols] = args.in.shape;
  const bool wants_columns = args.d_gamma.to || args.d_beta.to;
  const auto shaped = [&](const View& view) {
    return Operand(view ? view.reshaped(args.in.shape) : view);
  };
  const BackwardOperands operands{.in = shaped(args.in),
                                  .d_out = shaped(args.d_out),
                                  .gamma = flat(args.gamma),
                                  .residual = shaped(args.residual),
                                  .d_in = shaped(args.d_in),
                                  .mean = args.mean.as<const float>(),
                                  .rstd = args.rstd.as<const float>(),
                                  .partials = wants_columns ? args.scratch.as<float>() : nullptr,
                                  .rows = rows,
                                  .cols = cols};
  const std::int64_t parts = norm_parts_of(rows);
  const auto blocks = static_cast<unsigned>(parts);
  const unsigned threads = norm_backward_threads(cols);
  const cudaStream_t on = stream_of(stream);
  if (blocks > 0 && cols > 0 && (wants_columns || args.d_in)) {
    if (threads > 0) {
      launch(backward_kernel, blocks, threads, on, operands);
    } else {
      launch(long_backward_kernel, blocks, most_threads, on, operands);
    }
    check_launch("layer_norm_backward (launch)");
  }
  if (!wants_columns || cols == 0) return;
  const dim3 grid(static_cast<unsigned>(ceil_div(cols, warp)), 2), block(warp, column_groups);
  launch(column_sums_kernel, grid, block, on, operands.partials, parts, cols, args.d_gamma,
         args.d_beta);
  check_launch("layer_norm_backward (launch)");
}

}  // namespace sherd::cuda
