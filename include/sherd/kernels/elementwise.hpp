#pragma once
// One pass over memory, element by element. Views of one call share numel; types are fp32, bf16,
// fp16.
#include "sherd/device/stream.hpp"
#include "sherd/kernels/grad.hpp"

namespace sherd::kernels {

/// GELU, tanh form (Hendrycks & Gimpel 2016, §2). In place allowed.
void gelu(View in, View out, StreamRef stream);
/// d_in = d_out · gelu'(in). d_in may be d_out.
void gelu_backward(View in, View d_out, View d_in, StreamRef stream);

/// out = a + b; out may be a or b.
void add(View a, View b, View out, StreamRef stream);

/// out = residual + keep(branch) / (1 - p), keep by bits `rng` of the element; residual may be
/// absent, out may be branch or residual. p = 0 is a plain sum.
struct DropoutArgs {
  View branch, residual, out;
  float p = 0;
  Philox rng;
};
void dropout(const DropoutArgs& args, StreamRef stream);

/// out = in converted (to nearest even, or stochastically to bf16 with `round`).
void cast(View in, View out, StreamRef stream, const Philox* round = nullptr);
/// x *= factor.
void scale(View x, float factor, StreamRef stream);
/// Every byte becomes zero.
void zero(std::span<std::byte> bytes, StreamRef stream);
/// to (=|+=) value, honouring the gradient's type and rounding.
void accumulate(View value, const Grad& to, StreamRef stream);

/// x[i] = mean + stddev · n(first + i), n standard normal: n(2q) and n(2q + 1) are the Box-Muller
/// pair of words 2q and 2q + 1 of `rng`, in fp64 (normal_math.hpp).
void fill_normal(View x, std::uint64_t first, float mean, float stddev, Philox rng,
                 StreamRef stream);

}  // namespace sherd::kernels
