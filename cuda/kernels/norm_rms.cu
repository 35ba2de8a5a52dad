// RMS norm, forward. The sum of a row is in another order than the CPU's (fixed: by threads, then a
// butterfly), so rstd may differ in the last places; the rest is its arithmetic.
#include "sherd/kernels/norm_rms.hpp"

#include "cuda/device/queue.hpp"
#include "cuda/kernels/row_packs.cuh"
#include "cuda/kernels/row_sums.cuh"
#include "cuda/kernels/run.cuh"
#include "cuda/kernels/twins.hpp"

namespace sherd::cuda {
namespace {

constexpr unsigned block_threads = 256;

struct NormOperands {
  Operand in, gain, out;
  float* rstd;
  std::int64_t rows, cols;
  float eps;
};

/// Bytes an element: in + out; the gain stays in the caches.
template <unsigned warps, unsigned packs>
__global__ void __launch_bounds__(block_threads) rms_norm_kernel(NormOperands args) {
  __shared__ float squares[warps];
  const std::int64_t row = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / (warps * warp);
  if (row >= args.rows) return;
  const RowPacks<warps, packs> x(args.in.row(row), args.cols);
  float square = 0;
  x.each([&](std::int64_t, int, const float(&v)[pack]) {
#pragma unroll
    for (int i = 0; i < pack; ++i) square = ::fmaf(v[i], v[i], square);
  });
  const float mean = row_sum<warps>(square, squares) / static_cast<float>(args.cols);
  const float rstd = 1.0f / ::sqrtf(mean + args.eps);
  if (x.thread == 0) args.rstd[row] = rstd;
  const Operand out = args.out.row(row);
  x.each([&](std::int64_t at, int count, const float(&v)[pack]) {
    float y[pack];
    widen(fetch(args.gain, at, count), args.gain.type, y);
#pragma unroll
    for (int i = 0; i < pack; ++i) y[i] = v[i] * rstd * y[i];
    put(out, at, count, narrow(y, out.type));
  });
}

}  // namespace

void rms_norm(const RmsNormArgs& args, StreamRef stream) {
  const auto [rows, cols] = args.in.shape;
  if (rows == 0) return;
  const NormOperands operands{.in = Operand(args.in),
                              .gain = flat(args.gain),
                              .out = Operand(args.out.reshaped(args.in.shape)),
                              .rstd = args.rstd.as<float>(),
                              .rows = rows,
                              .cols = cols,
                              .eps = args.eps};
  const auto [warps, packs] = row_shape(cols);
  const Launch grid = one_thread_each(rows * warps * warp, block_threads);
  const cudaStream_t on = stream_of(stream);
  if (warps == 1 && packs == 4) {
    launch(rms_norm_kernel<1, 4>, grid.blocks, grid.threads, on, operands);
  } else if (warps == 1) {
    launch(rms_norm_kernel<1, 8>, grid.blocks, grid.threads, on, operands);
  } else if (packs == 8) {
    launch(rms_norm_kernel<8, 8>, grid.blocks, grid.threads, on, operands);
  } else {
    launch(rms_norm_kernel<8, 0>, grid.blocks, grid.threads, on, operands);
  }
  check_launch("rms_norm (launch)");
}

}  // namespace sherd::cuda
