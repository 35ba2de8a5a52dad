#include "cuda/kernels/attention_library.hpp"

namespace sherd::cuda {

bool library_attention(const kernels::AttentionArgs&, StreamRef) { return false; }
bool library_attention_backward(const kernels::AttentionBackwardArgs&, StreamRef) { return false; }
std::string attention_library() { return {}; }
std::string graph_problem(const AttentionShape&, DType, Direction, int) {
  return "this build has no cuDNN";
}

}  // namespace sherd::cuda
