#pragma once
// One single-threaded fp32 product through the library: the only door to it.
#include <cstdint>
#include <string_view>

#include "sherd/kernels/matmul.hpp"

namespace sherd::kernels::cpu {

/// A row-major matrix inside a larger one, as it lies in memory.
struct Operand {
  const float* data = nullptr;
  std::int64_t stride = 0;
  Transpose transpose = Transpose::no;
};

/// c[m,n] = alpha · op(a)[m,k] · op(b)[k,n] + beta · c
struct Gemm {
  std::int64_t m = 0, n = 0, k = 0;
  Operand a, b;
  float* c = nullptr;
  std::int64_t c_stride = 0;
  float alpha = 1, beta = 0;
};

/// **Order** on the calling thread alone, so bits depend on the arguments only.
/// **Errors** DeviceError if the library refuses.
void gemm(const Gemm& call);

/// "oneDNN 2.6.3"
[[nodiscard]] std::string_view gemm_library();

}  // namespace sherd::kernels::cpu
