#include "cuda/device/architecture.hpp"

namespace sherd::cuda {
namespace {

__global__ void nothing() {}

}  // namespace

const char* built_architectures() { return SHERD_CUDA_ARCHITECTURES; }

cudaError_t find_code() {
  cudaFuncAttributes attributes;
  const cudaError_t status = cudaFuncGetAttributes(&attributes, nothing);
  if (status != cudaSuccess) (void)cudaGetLastError();
  return status;
}

}  // namespace sherd::cuda
