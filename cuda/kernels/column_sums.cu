#include "cuda/kernels/column_sums.hpp"

#include "cuda/device/check.hpp"
#include "cuda/kernels/access.cuh"
#include "cuda/kernels/run.cuh"

namespace sherd::cuda {
namespace {

constexpr unsigned column_groups = 8;

/// Adds the parts of a column: eight threads take every eighth part, then their sums in order.
__global__ void __launch_bounds__(warp* column_groups)
    column_sums_kernel(ColumnParts at, Grad first, Grad second) {
  __shared__ float sums[column_groups][warp];
  const Grad& to = blockIdx.y == 0 ? first : second;
  if (to.to.data == nullptr) return;
  const std::int64_t col = std::int64_t{blockIdx.x} * warp + threadIdx.x;
  const float* from = at.from + blockIdx.y * at.cols + col;
  const std::int64_t stride = at.gradients * at.cols;
  float sum = 0;
#pragma unroll 8
  for (std::int64_t part = threadIdx.y; part < at.parts && col < at.cols; part += column_groups) {
    sum += from[part * stride];
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || col >= at.cols) return;
  for (unsigned i = 1; i < column_groups; ++i) sum += sums[i][threadIdx.x];
  store_gradient(to, col, sum);
}

}  // namespace

void store_column_sums(const ColumnParts& parts, const Grad& first, const Grad& second,
                       cudaStream_t on) {
  const dim3 grid(static_cast<unsigned>(ceil_div(parts.cols, warp)), parts.gradients);
  launch(column_sums_kernel, grid, dim3(warp, column_groups), on, parts, first, second);
  check_launch("column sums (launch)");
}

}  // namespace sherd::cuda
