#include "cuda/kernels/norm_backward.cuh"
#include "cuda/kernels/twins.hpp"
#include "sherd/kernels/norm_layer.hpp"

namespace sherd::cuda {

void layer_norm_backward(const LayerNormBackwardArgs& args, StreamRef stream) {
  const auto [rows, cols] = args.in.shape;
  const auto shaped = [&](const View& view) {
    return Operand(view ? view.reshaped(args.in.shape) : view);
  };
  const NormGradient norm{.in = shaped(args.in),
                          .d_out = shaped(args.d_out),
                          .gain = flat(args.gamma),
                          .residual = shaped(args.residual),
                          .d_in = shaped(args.d_in),
                          .mean = args.mean.as<const float>(),
                          .rstd = args.rstd.as<const float>(),
                          .partials = nullptr,
                          .rows = rows,
                          .cols = cols};
  norm_backward<true>(norm, args.scratch.as<float>(), args.d_gamma, args.d_beta, stream_of(stream));
}

}  // namespace sherd::cuda
