// Layer norm, forward. The sums of a row are in another order than the CPU's (fixed: by threads,
// then a butterfly), so statistics may differ in the last places; the rest is its arithmetic.
#include "sherd/kernels/norm_layer.hpp"

#include "cuda/device/queue.hpp"
#include "cuda/kernels/row_packs.cuh"
#include "cuda/kernels/row_sums.cuh"
#include "cuda/kernels/run.cuh"
#include "cuda/kernels/twins.hpp"

namespace sherd::cuda {
namespace {

constexpr unsigned block_threads = 256;

struct NormOperands {
  Operand in, gamma, beta, out;
  float *mean, *rstd;
  std::int64_t rows, cols;
  float eps;
};

/// Bytes an element: in + out; gamma and beta stay in the caches.
template <unsigned warps, unsigned packs>
__global__ void __launch_bounds__(block_threads) layer_norm_kernel(NormOperands args) {
  __shared__ float sums[warps], squares[warps];
  const std::int64_t row = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / (warps * warp);
  if (row >= args.rows) return;
  const RowPacks<warps, packs> x(args.in.row(row), args.cols);
  const auto width = static_cast<float>(args.cols);
  float sum = 0;
  x.each([&](std::int64_t, int, const float(&v)[pack]) {
#pragma unroll
    for (int i = 0; i < pack; ++i) sum += v[i];
  });
  const float mean = row_sum<warps>(sum, sums) / width;
  float square = 0;
  x.each([&](std::int64_t, int count, const float(&v)[pack]) {
#pragma unroll
    for (int i = 0; i < pack; ++i) {
      const float centred = i < count ? v[i] - mean : 0.0f;
      square = ::fmaf(centred, centred, square);
    }
  });
  const float rstd = 1.0f / ::sqrtf(row_sum<warps>(square, squares) / width + args.eps);
  if (x.thread == 0) {
    args.mean[row] = mean;
    args.rstd[row] = rstd;
  }
  const Operand out = args.out.row(row);
  x.each([&](std::int64_t at, int count, const float(&v)[pack]) {
    float gamma[pack], y[pack];
    widen(fetch(args.gamma, at, count), args.gamma.type, gamma);
    widen(fetch(args.beta, at, count), args.beta.type, y);
#pragma unroll
    for (int i = 0; i < pack; ++i) y[i] = ::fmaf((v[i] - mean) * rstd, gamma[i], y[i]);
    put(out, at, count, narrow(y, out.type));
  });
}

}  // namespace

void layer_norm(const LayerNormArgs& args, StreamRef stream) {
  const auto [rows, cols] = args.in.shape;
  if (rows == 0) return;
  const NormOperands operands{.in = Operand(args.in),
                              .gamma = flat(args.gamma),
                              .beta = flat(args.beta),
                              .out = Operand(args.out.reshaped(args.in.shape)),
                              .mean = args.mean.as<float>(),
                              .rstd = args.rstd.as<float>(),
                              .rows = rows,
                              .cols = cols,
                              .eps = args.eps};
  const auto [warps, packs] = row_shape(cols);
  const Launch grid = one_thread_each(rows * warps * warp, block_threads);
  const cudaStream_t on = stream_of(stream);
  if (warps == 1 && packs == 4) {
    launch(layer_norm_kernel<1, 4>, grid.blocks, grid.threads, on, operands);
  } else if (warps == 1) {
    launch(layer_norm_kernel<1, 8>, grid.blocks, grid.threads, on, operands);
  } else if (packs == 8) {
    launch(layer_norm_kernel<8, 8>, grid.blocks, grid.threads, on, operands);
  } else {
    launch(layer_norm_kernel<8, 0>, grid.blocks, grid.threads, on, operands);
  }
  check_launch("layer_norm (launch)");
}

}  // namespace sherd::cuda
