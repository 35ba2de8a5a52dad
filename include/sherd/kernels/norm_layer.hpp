#pragma once
// Layer normalisation (Ba et al. 2016), eps inside the root; statistics in fp32, sums in a fixed
// order.
#include "sherd/device/stream.hpp"
#include "sherd/kernels/grad.hpp"

namespace sherd::kernels {

struct LayerNormArgs {
  View in;           // [rows, cols] compute type
  View gamma, beta;  // [1, cols]
  View out;          // [rows, cols]
  View mean, rstd;   // [rows, 1] fp32, written
  float eps = 1e-5f;
};
void layer_norm(const LayerNormArgs& args, StreamRef stream);

struct LayerNormBackwardArgs {
  View in, d_out;        // [rows, cols]
  View gamma;            // [1, cols]
  View mean, rstd;       // [rows, 1] fp32
  View residual;         // [rows, cols] added to the result, or absent
  View d_in;             // [rows, cols]; may be d_out or residual itself; absent: not wanted
  Grad d_gamma, d_beta;  // [1, cols]
  View scratch;          // layer_norm_backward_scratch bytes
};
[[nodiscard]] Bytes layer_norm_backward_scratch(std::int64_t rows, std::int64_t cols,
                                                const Target& target);
void layer_norm_backward(const LayerNormBackwardArgs& args, StreamRef stream);

}  // namespace sherd::kernels
