#pragma once
// One row times a matrix: what generating a token is made of. It reads the matrix once, in the
// order it lies in memory, so it takes as long as memory does.
#include "sherd/device/workers.hpp"
#include "sherd/kernels/matmul.hpp"

namespace sherd::kernels::cpu {

[[nodiscard]] inline bool is_matrix_vector(const MatmulArgs& args) {
  return args.out.shape.rows == 1 && args.transpose_a == Transpose::no && args.mode == Write::set &&
         args.round == nullptr && args.b.row_pitch() == args.b.shape.cols;
}

/// Floats of scratch for any row of up to k times a matrix of up to n columns; 0 where all is fp32
/// and both are small.
[[nodiscard]] std::int64_t matrix_vector_floats(std::int64_t n, std::int64_t k, bool halves);

/// out = a·op(b) + bias. **Order** rows of b in parts whose number depends on the shape alone.
void matrix_vector(const MatmulArgs& args, device::Workers& workers);

}  // namespace sherd::kernels::cpu
