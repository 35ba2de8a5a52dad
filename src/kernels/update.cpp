#include "sherd/kernels/update.hpp"

#include <string>

#include "kernels/checks.hpp"
#include "kernels/cpu/update.hpp"
#include "sherd/kernels/interface.hpp"

namespace sherd::kernels {
namespace {

bool is_half(const View& view) { return view.type == DType::bf16 || view.type == DType::f16; }

/// As expects, but text is put together only for an error: kernels do not allocate.
void needs(bool holds, const char* call, const char* message) {
  if (!holds) expects(false, std::string(call) + ": " + message);
}

void check_sizes(const char* call, const UpdateArgs& args) {
  const std::int64_t numel = args.master.numel();
  needs((args.master.type == DType::f32 || is_split(args)) && holds(args.master, numel) &&
            is_grad(args.grad) && holds(args.grad, numel) && absent_or_holds(args.param, numel),
        call,
        "got views that differ in size or type, need a master in fp32 or u16, an fp32 or bf16 "
        "gradient and a parameter of one size");
  needs(!args.param || is_half(args.param), call, "got a wide parameter, need bf16, fp16 or none");
  needs(!is_split(args) || (holds(args.param, numel) && args.param.type == DType::bf16), call,
        "got a u16 master without a bf16 parameter, need both halves of it");
  needs(args.scalars != nullptr, call, "got no scalars, need them");
}

bool is_moment(const View& view, std::int64_t numel) {
  const bool whole = view.type == DType::q8 &&
                     numel % static_cast<std::int64_t>(q8_elements) == 0 &&
                     reinterpret_cast<std::uintptr_t>(view.data) % alignof(float) == 0;
  return (view.type == DType::f32 || view.type == DType::bf16 || whole) && holds(view, numel);
}

}  // namespace

void adamw(const UpdateArgs& args, StreamRef stream) {
  check_sizes("adamw", args);
  const std::int64_t numel = args.master.numel();
  expects(is_moment(args.m, numel) && is_moment(args.v, numel) && args.m.type == args.v.type,
          "adamw: got m or v of another size or type, need both in fp32, bf16 or whole blocks of "
          "q8");
  expects(args.eps > 0, "adamw: got eps of 0 or less, need more: padding would become NaN");
  if (on_device(stream)) return twin(stream).adamw(args, stream);
  cpu::adamw(args, stream.workers());
}

void lion(const UpdateArgs& args, StreamRef stream) {
  check_sizes("lion", args);
  expects(is_moment(args.m, args.master.numel()) && !args.v,
          "lion: got m of another size or type, or v, need no v and m in fp32, bf16 or whole "
          "blocks of q8");
  if (on_device(stream)) return twin(stream).lion(args, stream);
  cpu::lion(args, stream.workers());
}

void sgd(const UpdateArgs& args, StreamRef stream) {
  check_sizes("sgd", args);
  expects(!args.v && (args.m ? is_moment(args.m, args.master.numel()) : args.beta1 == 0),
          "sgd: got v, or no m but momentum, or m of another size or type, need beta1 = 0 or m in "
          "fp32, bf16 or whole blocks of q8");
  if (on_device(stream)) return twin(stream).sgd(args, stream);
  cpu::sgd(args, stream.workers());
}

void store_master(View master, View param, View remainder, StreamRef stream) {
  const std::int64_t numel = master.numel();
  const bool splits = static_cast<bool>(remainder);
  expects(!on_device(stream), "store_master: got a device's stream, need the CPU's");
  expects(
      master.type == DType::f32 && holds(master, numel) && is_half(param) && holds(param, numel),
      "store_master: got views that differ in size or type, need an fp32 master and a bf16 or "
      "fp16 parameter of one size");
  expects(!splits || (remainder.type == DType::u16 && remainder.numel() == numel &&
                      param.type == DType::bf16),
          "store_master: got a remainder of another size or type, need u16 beside bf16, or none");
  cpu::store_master(master, param, remainder, stream.workers());
}

void load_master(View param, View remainder, View out) {
  const std::int64_t numel = param.numel();
  const bool splits = static_cast<bool>(remainder);
  expects(is_half(param) && holds(param, numel) && out.type == DType::f32 && holds(out, numel),
          "load_master: got views that differ in size or type, need a bf16 or fp16 parameter and "
          "fp32 of one size");
  expects(!splits || (remainder.type == DType::u16 && remainder.numel() == numel &&
                      param.type == DType::bf16),
          "load_master: got a remainder of another size or type, need u16 beside bf16, or none");
  cpu::load_master(param, remainder, out);
}

}  // namespace sherd::kernels
