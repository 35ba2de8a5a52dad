#include "cuda/device/recording.hpp"

#include "cuda/device/check.hpp"

namespace sherd::cuda {

bool is_recording(const device::Queue& queue) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(queue.stream, &status), "cudaStreamIsCapturing");
  return status != cudaStreamCaptureStatusNone;
}

void record(device::Mark& mark, device::Queue& queue) {
  check(cudaEventRecord(mark.event, queue.stream), "cudaEventRecord");
}

void gate(device::Queue& queue, device::Mark& mark) {
  check(cudaStreamWaitEvent(queue.stream, mark.event, 0), "cudaStreamWaitEvent");
}

void begin_recording(device::Queue& queue) {
  check(cudaStreamBeginCapture(queue.stream, cudaStreamCaptureModeThreadLocal),
        "cudaStreamBeginCapture");
}

device::Graph* end_recording(device::Queue& queue) {
  auto made = std::make_unique<device::Graph>();
  cudaGraph_t drawn = nullptr;
  check(cudaStreamEndCapture(queue.stream, &drawn), "cudaStreamEndCapture");
  const cudaError_t status = cudaGraphInstantiate(&made->exec, drawn, 0);
  (void)cudaGraphDestroy(drawn);
  check(status, "cudaGraphInstantiate");
  return made.release();
}

}  // namespace sherd::cuda
