#include "sherd/kernels/norm_rms.hpp"

#include "kernels/checks.hpp"
#include "kernels/cpu/column_sums.hpp"
#include "kernels/cpu/norm_rms.hpp"
#include "sherd/kernels/device_scratch.hpp"
#include "sherd/kernels/interface.hpp"

namespace sherd::kernels {

void rms_norm(const RmsNormArgs& args, StreamRef stream) {
  const auto [rows, cols] = args.in.shape;
  expects(is_float(args.in) && is_float(args.out) && is_float(args.gain),
          "rms_norm: got an integer view, need fp32, bf16 or fp16");
  expects(holds(args.in, rows * cols) && holds(args.out, rows * cols),
          "rms_norm: got in and out that differ in size or are absent, need equal ones");
  expects(holds(args.gain, cols), "rms_norm: got a gain of another size, need [1, cols]");
  expects(args.rstd.type == DType::f32 && holds(args.rstd, rows),
          "rms_norm: got rstd of another size or type, need [rows, 1] fp32");
  if (on_device(stream)) return twin(stream).rms_norm(args, stream);
  cpu::rms_norm(args, stream.workers());
}

Bytes rms_norm_backward_scratch(std::int64_t rows, std::int64_t cols, const Target& target) {
  if (target.kind == DeviceKind::cuda) return device_scratch::rms_norm_backward(cols);
  return static_cast<Bytes>(cpu::sum_blocks(rows) * cols) * sizeof(float);
}

void rms_norm_backward(const RmsNormBackwardArgs& args, StreamRef stream) {
  const auto [rows, cols] = args.in.shape;
  const std::int64_t numel = rows * cols;
  expects(is_float(args.in) && is_float(args.d_out) && is_float(args.gain) &&
              is_float(args.residual) && is_float(args.d_in),
          "rms_norm_backward: got an integer view, need fp32, bf16 or fp16");
  expects(holds(args.in, numel) && holds(args.d_out, numel) &&
              absent_or_holds(args.residual, numel) && absent_or_holds(args.d_in, numel),
          "rms_norm_backward: got views that differ in size or are absent, need equal ones");
  expects(holds(args.gain, cols), "rms_norm_backward: got a gain of another size, need [1, cols]");
  expects(args.rstd.type == DType::f32 && holds(args.rstd, rows),
          "rms_norm_backward: got rstd of another size or type, need [rows, 1] fp32");
  expects(absent_or_takes(args.d_gain, cols),
          "rms_norm_backward: got a gradient of another size or type, need [1, cols] fp32 or bf16");
  expects(args.scratch.bytes() >= rms_norm_backward_scratch(rows, cols, {.kind = stream.kind()}),
          "rms_norm_backward: got too little scratch, need rms_norm_backward_scratch bytes");
  if (on_device(stream)) return twin(stream).rms_norm_backward(args, stream);
  cpu::rms_norm_backward(args, stream.workers());
}

}  // namespace sherd::kernels
