#pragma once
// Marks in queues, and pieces of queues recorded as CUDA graphs.
#include "cuda/device/queue.hpp"
#include "sherd/device/driver.hpp"

namespace sherd::cuda {

[[nodiscard]] bool is_recording(const device::Queue& queue);

void record(device::Mark& mark, device::Queue& queue);
void gate(device::Queue& queue, device::Mark& mark);

void begin_recording(device::Queue& queue);
[[nodiscard]] device::Graph* end_recording(device::Queue& queue);

}  // namespace sherd::cuda
