#pragma once
// The one place where kernels are put on a stream.
#include <cuda_runtime_api.h>

namespace sherd::cuda {

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 blocks, dim3 threads, cudaStream_t on,
            const Arguments&... arguments) {
  kernel<<<blocks, threads, 0, on>>>(arguments...);
}

}  // namespace sherd::cuda
