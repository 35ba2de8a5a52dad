#pragma once
// In place of a launch on a device: blocks one after the other, the threads of each as fibers.
#include "support/host_cuda/device.hpp"

namespace sherd::cuda {

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 blocks, dim3 threads, cudaStream_t /*on*/,
            const Arguments&... arguments) {
  test::run_blocks(blocks, threads, [&] { kernel(arguments...); });
}

}  // namespace sherd::cuda
