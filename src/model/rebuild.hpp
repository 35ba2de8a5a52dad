#pragma once
// The norm in front of a branch, computed again in backward.
#include "model/carver.hpp"
#include "sherd/kernels/norm_layer.hpp"
#include "sherd/kernels/norm_rms.hpp"

namespace sherd::model {

struct RebuildNorm {
  View in, gamma, beta;
  View out;  // the lost save
  float eps;
};

[[nodiscard]] inline Bytes rebuild_scratch(std::int64_t rows) {
  Carver count;
  count.take({rows, 1}, DType::f32);
  count.take({rows, 1}, DType::f32);
  return count.used();
}

/// Writes `out` alone: the statistics land in scratch, the saved ones stay untouched.
inline void rebuild(const RebuildNorm& norm, View scratch, StreamRef stream) {
  Carver carver(scratch);
  const View mean = carver.take({norm.in.shape.rows, 1}, DType::f32);
  const View rstd = carver.take({norm.in.shape.rows, 1}, DType::f32);
  kernels::layer_norm({norm.in, norm.gamma, norm.beta, norm.out, mean, rstd, norm.eps}, stream);
}

struct RebuildRms {
  View in, gain;
  View out;  // the lost save
  float eps;
};

[[nodiscard]] inline Bytes rebuild_rms_scratch(std::int64_t rows) {
  Carver count;
  count.take({rows, 1}, DType::f32);
  return count.used();
}

inline void rebuild(const RebuildRms& norm, View scratch, StreamRef stream) {
  Carver carver(scratch);
  const View rstd = carver.take({norm.in.shape.rows, 1}, DType::f32);
  kernels::rms_norm({norm.in, norm.gain, norm.out, rstd, norm.eps}, stream);
}

}  // namespace sherd::model
