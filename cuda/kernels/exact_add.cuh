#pragma once
// Adds to exact sums in device memory: integers, so blocks may come in any order.
#include "sherd/kernels/exact_sum.hpp"

namespace sherd::cuda {

/// *to += value, modulo 2^64.
__device__ inline void add_integer(std::int64_t* to, std::int64_t value) {
  if (value == 0) return;
  atomicAdd(reinterpret_cast<unsigned long long*>(to), static_cast<unsigned long long>(value));
}

/// One finite term: three limbs.
__device__ inline void add_exactly(kernels::ExactSum* to, double term) {
  kernels::ExactSum alone;
  alone.add(term);
#pragma unroll 1
  for (std::size_t i = 0; i < alone.limb.size(); ++i) add_integer(&to->limb[i], alone.limb[i]);
}

}  // namespace sherd::cuda
