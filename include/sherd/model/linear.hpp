#pragma once
// y = x·W + b with W [in, out], and its three gradients.
#include "sherd/device/stream.hpp"
#include "sherd/kernels/grad.hpp"

namespace sherd::model {

struct LinearShape {
  std::int64_t rows = 0, in = 0, out = 0;
};

/// Serves forward and backward, whatever type the gradients have.
[[nodiscard]] Bytes linear_scratch(const LinearShape& shape, const Target& target);

struct LinearArgs {
  View x;       // [rows, in]
  View weight;  // [in, out]
  View bias;    // [1, out], or absent
  View out;     // [rows, out]
  View scratch;
  View before_gelu{};  // [rows, out]: keeps x·W + b, and out is its GELU; or absent
};
void linear(const LinearArgs& args, StreamRef stream);

struct LinearBackwardArgs {
  View x, weight, d_out;
  View d_in;              // [rows, in]; absent: not wanted
  Grad d_weight, d_bias;  // absent: frozen, or there is no bias
  View scratch;
  View gelu_of{};  // [rows, in]: x was GELU of this, and d_in is its gradient; or absent
};
void linear_backward(const LinearBackwardArgs& args, StreamRef stream);

/// to (=|+=) xᵀ·d_out, rounded as the gradient's type asks; nothing where `to` is absent.
struct WeightGradientArgs {
  View x, d_out;
  Grad to;
  View scratch;
};
void weight_gradient(const WeightGradientArgs& args, StreamRef stream);

/// Scratch for a product of any element types that meet in training.
[[nodiscard]] Bytes product_scratch(std::int64_t m, std::int64_t n, std::int64_t k,
                                    const Target& target);

}  // namespace sherd::model
