#include "cuda/device/recording.hpp"

#include "cuda/device/check.hpp"

namespace sherd::cuda {

bool is_recording(const device::Queue& queue) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(queue.stream, &status), "cudaStreamIsCapturing");
  return status != cudaStreamCaptureStatusNone;
}

void record(device::Mark& mark, device::Queue& queue, device::Watcher watcher) {
  const bool recording = is_recording(queue);
  // A node of its own, so that each run of the recording reaches the mark anew.
  const bool own_node = recording && watcher == device::Watcher::host;
  check(cudaEventRecordWithFlags(mark.event, queue.stream,
                                 own_node ? cudaEventRecordExternal : cudaEventRecordDefault),
        "cudaEventRecordWithFlags");
  mark.orders_recording = recording && !own_node;
}

void gate(device::Queue& queue, device::Mark& mark) {
  // What was put on a queue outside of the recording is waited for at each run of it.
  const bool from_outside = !mark.orders_recording && is_recording(queue);
  check(cudaStreamWaitEvent(queue.stream, mark.event,
                            from_outside ? cudaEventWaitExternal : cudaEventWaitDefault),
        "cudaStreamWaitEvent");
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
