#include "sherd/kernels/attention.hpp"

#include <initializer_list>
#include <string>

#include "kernels/cpu/attention.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/base/poison.hpp"
#include "sherd/kernels/device_scratch.hpp"
#include "sherd/kernels/interface.hpp"

namespace sherd::kernels {
namespace {

struct Wanted {
  const char* name;
  const View& view;
  Shape shape;
};

void check(const std::string& call, const AttentionShape& shape,
           std::initializer_list<Wanted> views) {
  if (shape.sequences < 0 || shape.length < 1 || shape.heads < 1 || shape.head_dim < 1) {
    throw_usage(call + ": got an empty length, head count or head size, need at least 1 of each");
  }
  if (shape.kv_heads < 0 || shape.heads % shape.key_heads() != 0) {
    throw_usage(call + ": got " + std::to_string(shape.kv_heads) + " key heads for " +
                std::to_string(shape.heads) + " heads, need a number that divides them");
  }
  for (const Wanted& want : views) {
    const View& view = want.view;
    const bool typed =
        view.type == DType::f32 || view.type == DType::bf16 || view.type == DType::f16;
    if (!view || view.shape != want.shape || !typed) {
      throw_usage(call + ": got " + want.name + " [" + std::to_string(view.shape.rows) + ", " +
                  std::to_string(view.shape.cols) + "] of " + std::string(name_of(view.type)) +
                  ", need [" + std::to_string(want.shape.rows) + ", " +
                  std::to_string(want.shape.cols) + "] of fp32, bf16 or fp16");
    }
  }
}
// The library that reads them is not instrumented.
void touch_all(std::initializer_list<View> views) {
  for (const View& view : views) touch(view.raw());
}
void check_scratch(const std::string& call, const View& scratch, Bytes need) {
  if (scratch.bytes() < need || reinterpret_cast<std::uintptr_t>(scratch.data) % 64 != 0) {
    throw_usage(call + ": got " + std::to_string(scratch.bytes()) + " bytes of scratch, need " +
                std::to_string(need) + " aligned to 64");
  }
}
View part(const View& scratch, Bytes size) {
  return {scratch.data, {1, static_cast<std::int64_t>(size)}, DType::u8};
}
Bytes per_worker(std::int64_t floats, int threads) {
  return static_cast<Bytes>(floats * threads) * sizeof(float);
}
Shape rows_of(const AttentionShape& shape, std::int64_t cols) {
  return {shape.sequences * shape.length, cols};
}
Shape lse_shape(const AttentionShape& shape) {
  return {shape.sequences * shape.heads, shape.length};
}

}  // namespace

Bytes attention_scratch(const AttentionShape& shape, const Target& target) {
  if (target.kind == DeviceKind::cuda) return device_scratch::attention(shape);
  return per_worker(cpu::forward_floats(shape), target.threads);
}
Bytes attention_backward_scratch(const AttentionShape& shape, const Target& target) {
  if (target.kind == DeviceKind::cuda) return device_scratch::attention_backward(shape);
  return per_worker(cpu::backward_floats(shape), target.threads) +
         per_worker(cpu::shared_floats(shape, target.threads), 1);
}

void attention(const AttentionArgs& args, StreamRef stream) {
  const AttentionShape& shape = args.shape;
  check("attention", shape,
        {{"qkv", args.qkv, rows_of(shape, shape.qkv_width())},
         {"out", args.out, rows_of(shape, shape.width())},
         {"lse", args.lse, lse_shape(shape)}});
  expects(args.lse.type == DType::f32, "attention: got another type of lse, need fp32");
  const Bytes need = attention_scratch(shape, target_of(stream));
  check_scratch("attention", args.scratch, need);
  if (on_device(stream)) return twin(stream).attention(args, stream);
  touch_all({args.qkv, args.out, args.lse, part(args.scratch, need)});
  cpu::attention(args, stream);
}

void attention_backward(const AttentionBackwardArgs& args, StreamRef stream) {
  const AttentionShape& shape = args.shape;
  check("attention_backward", shape,
        {{"qkv", args.qkv, rows_of(shape, shape.qkv_width())},
         {"out", args.out, rows_of(shape, shape.width())},
         {"d_out", args.d_out, rows_of(shape, shape.width())},
         {"d_qkv", args.d_qkv, rows_of(shape, shape.qkv_width())},
         {"lse", args.lse, lse_shape(shape)}});
  expects(args.lse.type == DType::f32, "attention_backward: got another type of lse, need fp32");
  const Bytes need = attention_backward_scratch(shape, target_of(stream));
  check_scratch("attention_backward", args.scratch, need);
  if (on_device(stream)) return twin(stream).attention_backward(args, stream);
  touch_all({args.qkv, args.out, args.d_out, args.d_qkv, args.lse, part(args.scratch, need)});
  cpu::attention_backward(args, stream);
}

}  // namespace sherd::kernels
