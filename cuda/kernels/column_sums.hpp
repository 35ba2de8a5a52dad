#pragma once
// Sums of columns over rows, from the partial sums of blocks: every sum has one order.
#include <cuda_runtime_api.h>

#include "sherd/kernels/grad.hpp"

namespace sherd::cuda {

/// [parts, gradients, cols]: partial sums of the columns of one gradient, or of two.
struct ColumnParts {
  const float* from = nullptr;
  std::int64_t parts = 0, cols = 0;
  unsigned gradients = 1;
};
/// Adds the parts in order; a gradient that is absent is left out.
void store_column_sums(const ColumnParts& parts, const Grad& first, const Grad& second,
                       cudaStream_t on);

}  // namespace sherd::cuda
