#pragma once
// What a device queue is on CUDA: a stream, and what libraries keep for calls on it.
#include <cuda_runtime_api.h>

#include <memory>

#include "cuda/device/check.hpp"
#include "sherd/device/stream.hpp"

namespace sherd::device {

struct Queue {
  cudaStream_t stream = nullptr;
  int device = 0;
  int multiprocessors = 1;
  std::shared_ptr<void> products, attention;  // handles and plans, made at the first call
};
struct Mark {
  cudaEvent_t event = nullptr;
};
struct Graph {
  cudaGraphExec_t exec = nullptr;
};

}  // namespace sherd::device

namespace sherd::cuda {

/// Of a queue whose device is then the calling thread's, which a launch needs.
[[nodiscard]] inline cudaStream_t stream_of(StreamRef stream) {
  check(cudaSetDevice(stream.queue().device), "cudaSetDevice");
  return stream.queue().stream;
}

}  // namespace sherd::cuda
