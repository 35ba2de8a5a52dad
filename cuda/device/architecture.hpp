#pragma once
// Which devices the library holds code for.
#include <cuda_runtime_api.h>

namespace sherd::cuda {

/// "sm_90a, sm_100a": what was compiled.
[[nodiscard]] const char* built_architectures();
/// cudaErrorNoKernelImageForDevice where the current device runs none of it.
[[nodiscard]] cudaError_t find_code();

}  // namespace sherd::cuda
