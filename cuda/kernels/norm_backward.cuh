#pragma once
// The backward pass of layer norm and of RMS norm. Sums of a row and of a column are in other
// orders than the CPU's, both fixed: a column is summed by parts, each over its rows in order, and
// then over the parts.
#include "cuda/device/queue.hpp"
#include "cuda/kernels/access.cuh"
#include "cuda/kernels/column_sums.hpp"
#include "cuda/kernels/row_sums.cuh"
#include "cuda/kernels/run.cuh"

namespace sherd::cuda {

inline constexpr unsigned most_threads = 512, most_warps = most_threads / warp;

struct NormGradient {
  Operand in, d_out, gain, residual, d_in;
  const float *mean, *rstd;  // of a row; mean only where it is centred
  float* partials;           // [parts, gain (, bias), cols], or null: none of them is wanted
  std::int64_t rows, cols;
};

template <bool centred>
inline constexpr std::int64_t gradients = centred ? 2 : 1;

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

/// Eight elements of one row: x̂, and d_out·gain. A norm that is not centred has no mean and no
/// bias.
template <bool centred>
struct NormPack {
  float hat[pack], d_out[pack], weighted[pack];

  __device__ NormPack(const NormGradient& args, const Packed& x, const Packed& dy,
                      const float (&gain)[pack], std::int64_t row) {
    const float rstd = args.rstd[row];
    float mean = 0;
    if constexpr (centred) mean = args.mean[row];
    widen(x, args.in.type, hat);
    widen(dy, args.d_out.type, d_out);
#pragma unroll
    for (int i = 0; i < pack; ++i) {
      hat[i] = (centred ? hat[i] - mean : hat[i]) * rstd;
      weighted[i] = d_out[i] * gain[i];  // zero behind the row's end, as gain and d_out are
    }
  }
  __device__ void add_to(float& sum, float& product) const {
#pragma unroll
    for (int i = 0; i < pack; ++i) {
      if constexpr (centred) sum += weighted[i];
      product = ::fmaf(weighted[i], hat[i], product);
    }
  }
  __device__ void add_to_columns(float (&gain)[pack], float (&bias)[pack]) const {
#pragma unroll
    for (int i = 0; i < pack; ++i) {
      gain[i] = ::fmaf(d_out[i], hat[i], gain[i]);
      if constexpr (centred) bias[i] += d_out[i];
    }
  }
  __device__ void store(const NormGradient& args, std::int64_t row, std::int64_t at, int count,
                        float mean_weighted, float mean_product, const Packed& residual) const {
    const float rstd = args.rstd[row];
    float dx[pack], r[pack];
    widen(residual, args.residual.type, r);
    const bool adds = args.residual.data != nullptr;
#pragma unroll
    for (int i = 0; i < pack; ++i) {
      const float slope = centred ? weighted[i] - mean_weighted : weighted[i];
      dx[i] = rstd * ::fmaf(-hat[i], mean_product, slope);
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
template <bool centred>
__global__ void __launch_bounds__(most_threads)
    norm_backward_kernel(const __grid_constant__ NormGradient args) {
  __shared__ float slots[2][2 * norm_group][most_warps];
  const std::int64_t at = std::int64_t{threadIdx.x} * pack;
  const int count = at < args.cols ? elements_at(threadIdx.x, args.cols) : 0;
  const bool adds = count > 0 && args.residual.data != nullptr;
  const auto width = static_cast<float>(args.cols);
  float gain[pack] = {}, d_gain[pack] = {}, d_bias[pack] = {};
  if (count > 0) widen(fetch(args.gain, at, count), args.gain.type, gain);
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
      const NormPack<centred> values(args, x[r], dy[r], gain, first + r);
      values.add_to(sums.weighted[r], sums.product[r]);
      values.add_to_columns(d_gain, d_bias);
    }
    if (args.d_in.data == nullptr) continue;
    block_sum(sums, slots[turn]);
    turn ^= 1;
#pragma unroll
    for (int r = 0; r < norm_group; ++r) {
      if (count == 0 || first + r >= args.rows) continue;
      const NormPack<centred> values(args, x[r], dy[r], gain, first + r);
      values.store(args, first + r, at, count, sums.weighted[r] / width, sums.product[r] / width,
                   residual[r]);
    }
  }
  if (args.partials == nullptr) return;
  float* partial = args.partials + std::int64_t{blockIdx.x} * gradients<centred> * args.cols + at;
  store_partial(partial, d_gain, count);
  if constexpr (centred) store_partial(partial + args.cols, d_bias, count);
}

/// For rows too long for that: each is read twice, and partial sums stay in memory.
template <bool centred>
__global__ void __launch_bounds__(most_threads)
    long_norm_backward_kernel(const __grid_constant__ NormGradient args) {
  __shared__ float slots[2][2 * norm_group][most_warps];
  const auto width = static_cast<float>(args.cols);
  const std::int64_t step = std::int64_t{blockDim.x} * pack, begin = threadIdx.x * pack;
  int turn = 0;
  for (std::int64_t row = blockIdx.x; row < args.rows; row += gridDim.x) {
    const Operand in = args.in.row(row), d_out = args.d_out.row(row);
    const auto values_at = [&](std::int64_t at, int count) {
      float gain[pack];
      widen(fetch(args.gain, at, count), args.gain.type, gain);
      return NormPack<centred>(args, fetch(in, at, count), fetch(d_out, at, count), gain, row);
    };
    RowProducts sums;
    for (std::int64_t at = begin; at < args.cols; at += step) {
      values_at(at, elements_at(at / pack, args.cols)).add_to(sums.weighted[0], sums.product[0]);
    }
    block_sum(sums, slots[turn]);
    turn ^= 1;
    for (std::int64_t at = begin; at < args.cols; at += step) {
      const int count = elements_at(at / pack, args.cols);
      const NormPack<centred> values = values_at(at, count);
      if (args.partials != nullptr) {
        float* partial =
            args.partials + std::int64_t{blockIdx.x} * gradients<centred> * args.cols + at;
        float d_gain[pack] = {}, d_bias[pack] = {};
#pragma unroll
        for (int i = 0; i < pack; ++i) {
          if (i >= count || row < gridDim.x) continue;  // nothing there at the part's first row
          d_gain[i] = partial[i];
          if constexpr (centred) d_bias[i] = partial[args.cols + i];
        }
        values.add_to_columns(d_gain, d_bias);
        store_partial(partial, d_gain, count);
        if constexpr (centred) store_partial(partial + args.cols, d_bias, count);
      }
      if (args.d_in.data == nullptr) continue;
      const Packed residual =
          args.residual.data != nullptr ? fetch(args.residual.row(row), at, count) : Packed{};
      values.store(args, row, at, count, sums.weighted[0] / width, sums.product[0] / width,
                   residual);
    }
  }
}

/// All of it; `scratch` holds the partial sums.
template <bool centred>
void norm_backward(NormGradient args, float* scratch, const Grad& d_gain, const Grad& d_bias,
                   cudaStream_t on) {
  const bool wants_columns = d_gain.to || d_bias.to;
  args.partials = wants_columns ? scratch : nullptr;
  const std::int64_t parts = norm_parts_of(args.rows);
  const auto blocks = static_cast<unsigned>(parts);
  const unsigned threads = norm_backward_threads(args.cols);
  if (blocks > 0 && args.cols > 0 && (wants_columns || args.d_in.data != nullptr)) {
    if (threads > 0) {
      launch(norm_backward_kernel<centred>, blocks, threads, on, args);
    } else {
      launch(long_norm_backward_kernel<centred>, blocks, most_threads, on, args);
    }
    check_launch("norm backward (launch)");
  }
  if (!wants_columns || args.cols == 0) return;
  store_column_sums({args.partials, parts, args.cols, gradients<centred>}, d_gain, d_bias, on);
}

}  // namespace sherd::cuda
