#include "sherd/kernels/update.hpp"

#include "kernels/checks.hpp"
#include "kernels/cpu/update.hpp"
#include "sherd/kernels/interface.hpp"

namespace sherd::kernels {
namespace {

bool is_state(const View& view, std::int64_t numel) {
  return view.type == DType::f32 && holds(view, numel);
}
bool fits(const UpdateArgs& args) {
  const std::int64_t numel = args.master.numel();
  return is_state(args.master, numel) && is_grad(args.grad) && holds(args.grad, numel) &&
         absent_or_holds(args.param, numel);
}
bool stores_16_bits(const UpdateArgs& args) {
  return !args.param || args.param.type == DType::bf16 || args.param.type == DType::f16;
}

}  // namespace

void adamw(const UpdateArgs& args, StreamRef stream) {
  expects(fits(args),
          "adamw: got views that differ in size or type, need an fp32 master, an fp32 or bf16 "
          "gradient and a parameter of one size");
  expects(is_state(args.m, args.master.numel()) && is_state(args.v, args.master.numel()),
          "adamw: got m or v of another size or type, need fp32 as large as the master");
  expects(stores_16_bits(args), "adamw: got a wide parameter, need bf16, fp16 or none");
  expects(args.scalars != nullptr, "adamw: got no scalars, need them");
  expects(args.eps > 0, "adamw: got eps of 0 or less, need more: padding would become NaN");
  if (on_device(stream)) return twin(stream).adamw(args, stream);
  cpu::adamw(args, stream.workers());
}

void lion(const UpdateArgs& args, StreamRef stream) {
  expects(fits(args),
          "lion: got views that differ in size or type, need an fp32 master, an fp32 or bf16 "
          "gradient and a parameter of one size");
  expects(is_state(args.m, args.master.numel()) && !args.v,
          "lion: got m of another size or type, or v, need m in fp32 and no v");
  expects(stores_16_bits(args), "lion: got a wide parameter, need bf16, fp16 or none");
  expects(args.scalars != nullptr, "lion: got no scalars, need them");
  if (on_device(stream)) return twin(stream).lion(args, stream);
  cpu::lion(args, stream.workers());
}

void sgd(const UpdateArgs& args, StreamRef stream) {
  expects(fits(args),
          "sgd: got views that differ in size or type, need an fp32 master, an fp32 or bf16 "
          "gradient and a parameter of one size");
  expects(!args.v && (args.m ? is_state(args.m, args.master.numel()) : args.beta1 == 0),
          "sgd: got v, or no m but momentum, or m of another size, need m in fp32 or beta1 = 0");
  expects(stores_16_bits(args), "sgd: got a wide parameter, need bf16, fp16 or none");
  expects(args.scalars != nullptr, "sgd: got no scalars, need them");
  if (on_device(stream)) return twin(stream).sgd(args, stream);
  cpu::sgd(args, stream.workers());
}

}  // namespace sherd::kernels
