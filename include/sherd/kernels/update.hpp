#pragma once
// One fused pass per optimizer over a tile: gradient in, fp32 state in place, stored parameter out.
#include "sherd/device/stream.hpp"
#include "sherd/kernels/grad.hpp"

namespace sherd::kernels {

/// Lives in the control buffer on the device; written by `decide` and `feed`, read by the update
/// kernels.
struct UpdateScalars {
  float factor = 1;  // gradient multiplier: 1 / (tokens · scale) · nominal · clip
  float lr = 0;
  double bias1 = 1, bias2 = 1;  // 1 - beta^(applied + 1)
  std::uint32_t skip = 0;       // non-zero: nothing may change
};

struct UpdateArgs {
  View grad;    // [1, n] fp32 or bf16, scaled
  View master;  // [1, n] fp32, in place
  View m, v;    // [1, n] fp32; v absent for lion and sgd; m absent for sgd without momentum
  View param;   // [1, n] 16-bit copy out, to nearest; absent where the master is the parameter
  float beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f, weight_decay = 0;
  const UpdateScalars* scalars = nullptr;
};

/// AdamW (Loshchilov & Hutter 2019, Algorithm 2), decoupled decay lr·wd·p before the step, as
/// PyTorch computes it.
void adamw(const UpdateArgs& args, StreamRef stream);
/// Lion (Chen et al. 2023, Algorithm 2).
void lion(const UpdateArgs& args, StreamRef stream);
/// SGD with momentum beta1 (Sutskever et al. 2013, PyTorch's form: m = beta1·m + g; p -= lr·m),
/// coupled decay.
void sgd(const UpdateArgs& args, StreamRef stream);

}  // namespace sherd::kernels
