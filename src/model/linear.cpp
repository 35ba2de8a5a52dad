#include "sherd/model/linear.hpp"

#include <algorithm>

#include "sherd/kernels/matmul.hpp"

namespace sherd::model {

Bytes product_scratch(std::int64_t m, std::int64_t n, std::int64_t k, const Target& target) {
  Bytes most = 0;
  for (const DType out : {target.compute, DType::f32, DType::bf16})
    most = std::max(most, kernels::matmul_scratch(m, n, k, target.compute, out, target));
  return most;
}

Bytes linear_scratch(const LinearShape& s, const Target& target) {
  return std::max({product_scratch(s.rows, s.out, s.in, target),
                   product_scratch(s.rows, s.in, s.out, target),
                   product_scratch(s.in, s.out, s.rows, target),
                   kernels::bias_gradient_scratch(s.out, target)});
}

void linear(const LinearArgs& args, StreamRef stream) {
  kernels::matmul({.a = args.x,
                   .b = args.weight,
                   .out = args.out,
                   .bias = args.bias,
                   .before_gelu = args.before_gelu,
                   .scratch = args.scratch},
                  stream);
}

void weight_gradient(const WeightGradientArgs& args, StreamRef stream) {
  if (!args.to.to) return;
  kernels::matmul({.a = args.x,
                   .b = args.d_out,
                   .transpose_a = kernels::Transpose::yes,
                   .out = args.to.to,
                   .mode = args.to.mode,
                   .round = args.to.to.type == DType::bf16 ? &args.to.round : nullptr,
                   .scratch = args.scratch},
                  stream);
}

void linear_backward(const LinearBackwardArgs& args, StreamRef stream) {
  weight_gradient({args.x, args.d_out, args.d_weight, args.scratch}, stream);
  if (args.d_bias.to) kernels::bias_gradient({args.d_out, args.d_bias, args.scratch}, stream);
  if (!args.d_in) return;
  kernels::matmul({.a = args.d_out,
                   .b = args.weight,
                   .transpose_b = kernels::Transpose::yes,
                   .out = args.d_in,
                   .gelu_of = args.gelu_of,
                   .scratch = args.scratch},
                  stream);
}

}  // namespace sherd::model
