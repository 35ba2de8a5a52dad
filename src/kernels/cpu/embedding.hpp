#pragma once
#include "sherd/device/workers.hpp"
#include "sherd/kernels/embedding.hpp"

namespace sherd::kernels::cpu {

/// Which rows of d_out make one row of a gradient, in the order they are added.
struct RowSum {
  const std::int32_t* rows;  // or null: first, first + stride, …
  std::int64_t count, first, stride;
};

void embedding(const EmbeddingArgs& args, device::Workers& workers);
void embedding_backward(const EmbeddingBackwardArgs& args, device::Workers& workers);

}  // namespace sherd::kernels::cpu
