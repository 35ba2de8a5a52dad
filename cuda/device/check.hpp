#pragma once
// Turns a failed CUDA call into a DeviceError that names it.
#include <cuda_runtime_api.h>

#include <string>

#include "sherd/base/errors.hpp"

namespace sherd::cuda {

/// `call` is what was called: "cudaMemcpyAsync", "layer_norm (launch)".
inline void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  (void)cudaGetLastError();  // not sticky where CUDA lets it be forgotten
  throw DeviceError(std::string("CUDA: ") + call + ": " + cudaGetErrorString(status) + " (" +
                    cudaGetErrorName(status) + ")");
}
/// After a kernel's `<<<>>>`.
inline void check_launch(const char* kernel) { check(cudaGetLastError(), kernel); }

}  // namespace sherd::cuda
