#pragma once
// A norm that is a layer norm where it has an offset, and an RMS norm where it has none.
#include "sherd/kernels/norm_layer.hpp"
#include "sherd/kernels/norm_rms.hpp"
#include "sherd/model/language_head.hpp"

namespace sherd::model {

struct NormArgs {
  View in, gain, offset, out;
  View mean, rstd;  // [rows, 1] fp32; an RMS norm has no mean
  float eps;
};
inline void norm(const NormArgs& a, StreamRef stream) {
  if (a.offset) {
    kernels::layer_norm({a.in, a.gain, a.offset, a.out, a.mean, a.rstd, a.eps}, stream);
  } else {
    kernels::rms_norm({a.in, a.gain, a.out, a.rstd, a.eps}, stream);
  }
}

struct NormBackwardArgs {
  View in, d_out, gain, mean, rstd, residual, d_in;
  Grad d_gain, d_offset;  // without an offset: of an RMS norm
  View scratch;
};
inline void norm_backward(const NormBackwardArgs& a, StreamRef stream) {
  if (a.d_offset.to) {
    kernels::layer_norm_backward({a.in, a.d_out, a.gain, a.mean, a.rstd, a.residual, a.d_in,
                                  a.d_gain, a.d_offset, a.scratch},
                                 stream);
  } else {
    kernels::rms_norm_backward(
        {a.in, a.d_out, a.gain, a.rstd, a.residual, a.d_in, a.d_gain, a.scratch}, stream);
  }
}
[[nodiscard]] inline Bytes norm_backward_scratch(NormKind kind, Shape shape, const Target& target) {
  return kind == NormKind::layer
             ? kernels::layer_norm_backward_scratch(shape.rows, shape.cols, target)
             : kernels::rms_norm_backward_scratch(shape.rows, shape.cols, target);
}

}  // namespace sherd::model
