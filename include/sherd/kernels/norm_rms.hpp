#pragma once
// Root-mean-square normalisation (Zhang & Sennrich 2019), eps inside the root; fp32 throughout and
// rounded once, where transformers rounds 16-bit rows a second time before the gain.
#include "sherd/device/stream.hpp"
#include "sherd/kernels/grad.hpp"

namespace sherd::kernels {

struct RmsNormArgs {
  View in;    // [rows, cols]
  View gain;  // [1, cols]
  View out;   // [rows, cols]; may be in
  View rstd;  // [rows, 1] fp32, written: 1 / sqrt(mean(in²) + eps)
  float eps = 1e-5f;
};
/// out = in · rstd · gain.
void rms_norm(const RmsNormArgs& args, StreamRef stream);

struct RmsNormBackwardArgs {
  View in, d_out;  // [rows, cols]
  View gain;       // [1, cols]
  View rstd;       // [rows, 1] fp32
  View residual;   // [rows, cols] added to the result, or absent
  View d_in;       // [rows, cols]; may be d_out or residual itself; absent: not wanted
  Grad d_gain;     // [1, cols]
  View scratch;    // rms_norm_backward_scratch bytes
};
[[nodiscard]] Bytes rms_norm_backward_scratch(std::int64_t rows, std::int64_t cols,
                                              const Target& target);
void rms_norm_backward(const RmsNormBackwardArgs& args, StreamRef stream);

}  // namespace sherd::kernels
