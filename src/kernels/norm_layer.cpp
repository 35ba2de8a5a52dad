#include "sherd/kernels/norm_layer.hpp"

#include "kernels/checks.hpp"
#include "kernels/cpu/column_sums.hpp"
#include "kernels/cpu/norm_layer.hpp"
#include "sherd/kernels/device_scratch.hpp"
#include "sherd/kernels/interface.hpp"

namespace sherd::kernels {
namespace {

bool is_statistic(const View& view, std::int64_t rows) {
  return view.type == DType::f32 && holds(view, rows);
}

}  // namespace

void layer_norm(const LayerNormArgs& args, StreamRef stream) {
  const auto [rows, cols] = args.in.shape;
  expects(is_float(args.in) && is_float(args.out) && is_float(args.gamma) && is_float(args.beta),
          "layer_norm: got an integer view, need fp32, bf16 or fp16");
  expects(holds(args.in, rows * cols) && holds(args.out, rows * cols),
          "layer_norm: got in and out that differ in size or are absent, need equal ones");
  expects(holds(args.gamma, cols) && holds(args.beta, cols),
          "layer_norm: got gamma or beta of another size, need [1, cols]");
  expects(is_statistic(args.mean, rows) && is_statistic(args.rstd, rows),
          "layer_norm: got mean or rstd of another size or type, need [rows, 1] fp32");
  if (on_device(stream)) return twin(stream).layer_norm(args, stream);
  cpu::layer_norm(args, stream.workers());
}

Bytes layer_norm_backward_scratch(std::int64_t rows, std::int64_t cols, const Target& target) {
  if (target.kind == DeviceKind::cuda) return device_scratch::layer_norm_backward(cols);
  return static_cast<Bytes>(2 * cpu::sum_blocks(rows) * cols) * sizeof(float);
}

void layer_norm_backward(const LayerNormBackwardArgs& args, StreamRef stream) {
  const auto [rows, cols] = args.in.shape;
  const std::int64_t numel = rows * cols;
  expects(is_float(args.in) && is_float(args.d_out) && is_float(args.gamma) &&
              is_float(args.residual) && is_float(args.d_in),
          "layer_norm_backward: got an integer view, need fp32, bf16 or fp16");
  expects(holds(args.in, numel) && holds(args.d_out, numel) &&
              absent_or_holds(args.residual, numel) && absent_or_holds(args.d_in, numel),
          "layer_norm_backward: got views that differ in size or are absent, need equal ones");
  expects(holds(args.gamma, cols),
          "layer_norm_backward: got gamma of another size, need [1, cols]");
  expects(is_statistic(args.mean, rows) && is_statistic(args.rstd, rows),
          "layer_norm_backward: got mean or rstd of another size or type, need [rows, 1] fp32");
  expects(absent_or_takes(args.d_gamma, cols) && absent_or_takes(args.d_beta, cols),
          "layer_norm_backward: got a gradient of another size or type, need [1, cols] fp32 or "
          "bf16");
  expects(args.scratch.bytes() >= layer_norm_backward_scratch(rows, cols, {.kind = stream.kind()}),
          "layer_norm_backward: got too little scratch, need layer_norm_backward_scratch bytes");
  if (on_device(stream)) return twin(stream).layer_norm_backward(args, stream);
  cpu::layer_norm_backward(args, stream.workers());
}

}  // namespace sherd::kernels
