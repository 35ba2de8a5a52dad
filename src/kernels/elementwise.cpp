#include "sherd/kernels/elementwise.hpp"

#include <cmath>

#include "kernels/checks.hpp"
#include "kernels/cpu/elementwise.hpp"
#include "sherd/kernels/interface.hpp"

namespace sherd::kernels {

void gelu(View in, View out, StreamRef stream) {
  expects(is_float(in) && is_float(out), "gelu: got an integer view, need fp32, bf16 or fp16");
  expects(holds(out, in.numel()) && holds(in, in.numel()),
          "gelu: got views that differ in size or are absent, need equal ones");
  if (on_device(stream)) return twin(stream).gelu(in, out, stream);
  cpu::gelu(in, out, stream.workers());
}

void gelu_backward(View in, View d_out, View d_in, StreamRef stream) {
  expects(is_float(in) && is_float(d_out) && is_float(d_in),
          "gelu_backward: got an integer view, need fp32, bf16 or fp16");
  expects(holds(in, in.numel()) && holds(d_out, in.numel()) && holds(d_in, in.numel()),
          "gelu_backward: got views that differ in size or are absent, need equal ones");
  if (on_device(stream)) return twin(stream).gelu_backward(in, d_out, d_in, stream);
  cpu::gelu_backward(in, d_out, d_in, stream.workers());
}

void add(View a, View b, View out, StreamRef stream) {
  expects(is_float(a) && is_float(b) && is_float(out),
          "add: got an integer view, need fp32, bf16 or fp16");
  expects(holds(a, out.numel()) && holds(b, out.numel()) && holds(out, out.numel()),
          "add: got views that differ in size or are absent, need equal ones");
  if (on_device(stream)) return twin(stream).add(a, b, out, stream);
  cpu::add(a, b, out, stream.workers());
}

void dropout(const DropoutArgs& args, StreamRef stream) {
  expects(is_float(args.branch) && is_float(args.out) && is_float(args.residual),
          "dropout: got an integer view, need fp32, bf16 or fp16");
  const std::int64_t numel = args.out.numel();
  expects(
      holds(args.branch, numel) && holds(args.out, numel) && absent_or_holds(args.residual, numel),
      "dropout: got views that differ in size or are absent, need equal ones");
  expects(args.p >= 0 && args.p < 1, "dropout: got p outside its range, need 0 <= p < 1");
  if (on_device(stream)) return twin(stream).dropout(args, stream);
  cpu::dropout(args, stream.workers());
}

void cast(View in, View out, StreamRef stream, const Philox* round) {
  expects(is_float(in) && is_float(out), "cast: got an integer view, need fp32, bf16 or fp16");
  expects(holds(in, out.numel()) && holds(out, out.numel()),
          "cast: got views that differ in size or are absent, need equal ones");
  expects(round == nullptr || out.type == DType::bf16,
          "cast: got random bits for another type, need a bf16 result");
  if (on_device(stream)) return twin(stream).cast(in, out, stream, round);
  cpu::cast(in, out, round, stream.workers());
}

void scale(View x, float factor, StreamRef stream) {
  expects(is_float(x), "scale: got an integer view, need fp32, bf16 or fp16");
  expects(holds(x, x.numel()), "scale: got an absent view, need one");
  if (on_device(stream)) return twin(stream).scale(x, factor, stream);
  cpu::scale(x, factor, stream.workers());
}

void zero(std::span<std::byte> bytes, StreamRef stream) {
  if (on_device(stream)) return twin(stream).zero(bytes, stream);
  cpu::zero(bytes, stream.workers());
}

void accumulate(View value, const Grad& to, StreamRef stream) {
  expects(is_float(value) && is_grad(to.to),
          "accumulate: got another type, need a float value and an fp32 or bf16 gradient");
  expects(holds(value, to.to.numel()) && holds(to.to, to.to.numel()),
          "accumulate: got views that differ in size or are absent, need equal ones");
  if (on_device(stream)) return twin(stream).accumulate(value, to, stream);
  cpu::accumulate(value, to, stream.workers());
}

void fill_normal(View x, std::uint64_t first, float mean, float stddev, Philox rng,
                 StreamRef stream) {
  expects(is_float(x), "fill_normal: got an integer view, need fp32, bf16 or fp16");
  expects(holds(x, x.numel()), "fill_normal: got an absent view, need one");
  expects(std::isfinite(mean) && std::isfinite(stddev) && stddev >= 0,
          "fill_normal: got a bad mean or stddev, need finite ones and stddev >= 0");
  if (on_device(stream)) return twin(stream).fill_normal(x, first, mean, stddev, rng, stream);
  cpu::fill_normal(x, first, mean, stddev, rng, stream.workers());
}

}  // namespace sherd::kernels
