#include "sherd/kernels/reduction.hpp"

#include "kernels/checks.hpp"
#include "kernels/cpu/reduction.hpp"
#include "sherd/kernels/interface.hpp"

namespace sherd::kernels {

void square_norm(View x, NormSum& sum, StreamRef stream) {
  expects(is_grad(x) && holds(x, x.numel()), "square_norm: got another type, need fp32 or bf16");
  expects(x.numel() % quantum == 0, "square_norm: got a part of a quantum, need whole ones");
  if (on_device(stream)) return twin(stream).square_norm(x, sum, stream);
  cpu::square_norm(x, sum, stream.workers());
}

void fold(const FoldArgs& args, StreamRef stream) {
  expects(
      args.out.type == DType::f32 || args.out.type == DType::bf16 || args.out.type == DType::i64,
      "fold: got another type, need fp32, bf16 or i64");
  expects(holds(args.out, args.out.numel()), "fold: got no out, need one");
  expects(!args.sources.empty(), "fold: got no sources, need at least one");
  for (const std::byte* source : args.sources) {
    expects(source != nullptr || args.out.numel() == 0, "fold: got a null source, need memory");
  }
  expects(args.round == nullptr || args.out.type == DType::bf16,
          "fold: got random bits for another type, need a bf16 out");
  if (on_device(stream)) return twin(stream).fold(args, stream);
  cpu::fold(args);
}

}  // namespace sherd::kernels
