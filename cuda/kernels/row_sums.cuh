#pragma once
// Sums over the threads of a row in a fixed order: a butterfly in each warp, then warps in order.
#include "cuda/kernels/launch.hpp"

namespace sherd::cuda {

template <class T>
__device__ inline T warp_sum(T x) {
  for (unsigned width = warp / 2; width > 0; width /= 2)
    x += __shfl_xor_sync(0xffffffffu, x, width);
  return x;
}
__device__ inline float warp_largest(float x) {
  for (unsigned width = warp / 2; width > 0; width /= 2) {
    const float other = __shfl_xor_sync(0xffffffffu, x, width);
    x = other > x ? other : x;
  }
  return x;
}

/// Of `warps` warps, all of the block unless it is one; `slots` is used by no other sum.
template <unsigned warps, class T>
__device__ inline T row_sum(T x, T (&slots)[warps]) {
  x = warp_sum(x);
  if constexpr (warps == 1) return x;
  if (threadIdx.x % warp == 0) slots[threadIdx.x / warp] = x;
  __syncthreads();
  T sum = 0;
#pragma unroll
  for (unsigned i = 0; i < warps; ++i) sum += slots[i];
  return sum;
}

}  // namespace sherd::cuda
