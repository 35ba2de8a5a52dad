#include "cuda/kernels/attention_library.hpp"
#include "cuda/kernels/attention_own.hpp"
#include "cuda/kernels/matmul_products.hpp"
#include "cuda/kernels/twins.hpp"

namespace sherd::cuda {

void attention(const kernels::AttentionArgs& args, StreamRef stream) {
  if (args.out.numel() == 0) return;
  if (!library_attention(args, stream)) own_attention(args, stream);
}

void attention_backward(const kernels::AttentionBackwardArgs& args, StreamRef stream) {
  if (args.out.numel() == 0) return;
  if (!library_attention_backward(args, stream)) own_attention_backward(args, stream);
}

std::string path(DType operands) {
  const std::string library = operands == DType::f32 ? "" : attention_library();
  return product_library() + " with fp32 sums; attention by " +
         (library.empty() ? "own tiles in fp32" : library + ", else own tiles in fp32");
}

}  // namespace sherd::cuda
