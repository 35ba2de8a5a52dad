#include "sherd/kernels/rotary.hpp"

#include <string>

#include "kernels/checks.hpp"
#include "kernels/cpu/rotary.hpp"
#include "sherd/kernels/device_scratch.hpp"
#include "sherd/kernels/interface.hpp"

namespace sherd::kernels {
namespace {

void check_shape(const std::string& call, const AttentionShape& s, std::int64_t first_position) {
  if (s.sequences < 0 || s.length < 1 || s.heads < 1 || s.kv_heads < 0 ||
      s.heads % s.key_heads() != 0) {
    throw_usage(call +
                ": got an empty length or a bad number of heads, need at least 1 of each, "
                "and key heads that divide the heads");
  }
  if (s.head_dim < 2 || s.head_dim % 2 != 0 || s.head_dim > largest_rotary_head) {
    throw_usage(call + ": got heads of " + std::to_string(s.head_dim) +
                " elements, need an even number of at most " + std::to_string(largest_rotary_head));
  }
  if (first_position < 0) throw_usage(call + ": got a negative position, need 0 or more");
}
void check_rows(const std::string& call, const AttentionShape& s, const View& view) {
  if (!is_float(view) || view.shape != Shape{s.rows(), s.qkv_width()} || !holds(view, view.numel()))
    throw_usage(call +
                ": got rows of another shape or type, need [sequences·length, qkv_width] of "
                "fp32, bf16 or fp16");
}
/// Gains and what the norm of heads remembers, if it is wanted.
void check_norm(const std::string& call, const AttentionShape& s, const View& q_gain,
                const View& k_gain, const View& rstd) {
  if (static_cast<bool>(q_gain) != static_cast<bool>(k_gain))
    throw_usage(call + ": got one gain of two, need both or none");
  if (!q_gain) return;
  if (!is_float(q_gain) || !is_float(k_gain) || !holds(q_gain, s.head_dim) ||
      !holds(k_gain, s.head_dim))
    throw_usage(call +
                ": got gains of another size or type, need [1, head_dim] of fp32, bf16 or "
                "fp16");
  if (rstd.type != DType::f32 || !holds(rstd, s.rows() * (s.heads + s.key_heads())))
    throw_usage(call + ": got rstd of another size or type, need [rows, heads + key heads] fp32");
}
void check_scratch(const std::string& call, const View& scratch, Bytes need) {
  if (scratch.bytes() < need)
    throw_usage(call + ": got " + std::to_string(scratch.bytes()) + " bytes of scratch, need " +
                std::to_string(need));
}

}  // namespace

Bytes rotary_scratch(const AttentionShape& shape, const Target& target) {
  if (target.kind == DeviceKind::cuda) return device_scratch::rotary(shape);
  return static_cast<Bytes>(cpu::turn_floats(shape)) * sizeof(float);
}
Bytes rotary_backward_scratch(const AttentionShape& shape, const Target& target) {
  if (target.kind == DeviceKind::cuda) return device_scratch::rotary_backward(shape);
  return static_cast<Bytes>(cpu::turn_floats(shape) + cpu::gain_floats(shape)) * sizeof(float);
}

void rotary(const RotaryArgs& args, StreamRef stream) {
  const AttentionShape& shape = args.shape;
  check_shape("rotary", shape, args.first_position);
  for (const View& view : {args.in, args.out}) check_rows("rotary", shape, view);
  check_norm("rotary", shape, args.q_gain, args.k_gain, args.rstd);
  check_scratch("rotary", args.scratch, rotary_scratch(shape, target_of(stream)));
  if (on_device(stream)) return twin(stream).rotary(args, stream);
  cpu::rotary(args, stream.workers());
}

void rotary_backward(const RotaryBackwardArgs& args, StreamRef stream) {
  const AttentionShape& shape = args.shape;
  check_shape("rotary_backward", shape, args.first_position);
  for (const View& view : {args.d_out, args.d_in}) check_rows("rotary_backward", shape, view);
  check_norm("rotary_backward", shape, args.q_gain, args.k_gain, args.rstd);
  if (args.q_gain) check_rows("rotary_backward", shape, args.in);
  expects(absent_or_takes(args.d_q_gain, shape.head_dim) &&
              absent_or_takes(args.d_k_gain, shape.head_dim),
          "rotary_backward: got a gradient of another size or type, need [1, head_dim] fp32 or "
          "bf16");
  expects(args.q_gain || (!args.d_q_gain.to && !args.d_k_gain.to),
          "rotary_backward: got a gradient of a gain without the gain, need both");
  check_scratch("rotary_backward", args.scratch, rotary_backward_scratch(shape, target_of(stream)));
  if (on_device(stream)) return twin(stream).rotary_backward(args, stream);
  cpu::rotary_backward(args, stream.workers());
}

}  // namespace sherd::kernels
