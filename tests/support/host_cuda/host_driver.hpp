#pragma once
// A device whose queues run what is put on them at once: enough to make a stream for the kernels.
#include "device/queue.hpp"
#include "sherd/device/stream.hpp"

namespace sherd::test {

class HostDriver final : public device::Driver {
 public:
  device::DeviceInfo info() override { return {}; }
  device::Queue* make_queue() override {
    auto queue = std::make_unique<device::Queue>();
    queue->multiprocessors = 3;
    return queue.release();
  }
  void drop(device::Queue* queue) noexcept override { std::unique_ptr<device::Queue>{queue}; }
  device::Mark* make_mark() override { return nullptr; }
  void drop(device::Mark*) noexcept override {}
  void record(device::Mark&, device::Queue&) override {}
  void gate(device::Queue&, device::Mark&) override {}
  bool reached(device::Mark&) override { return true; }
  std::byte* allocate(device::Memory, Bytes) override { return nullptr; }
  void release(device::Memory, std::byte*) noexcept override {}
  void copy(device::Queue&, std::byte*, const std::byte*, Bytes) override {}
  device::PeerHandle name_for_peers(std::byte*) override { return {}; }
  std::byte* open_peer(const device::PeerHandle&) override { return nullptr; }
  void close_peer(std::byte*) noexcept override {}
  void begin_recording(device::Queue&) override {}
  device::Graph* end_recording(device::Queue&) override { return nullptr; }
  void launch(device::Graph&, device::Queue&) override {}
  void drop(device::Graph*) noexcept override {}
};

inline std::unique_ptr<device::OpenDevice> open_host() {
  auto open = std::make_unique<device::OpenDevice>();
  open->driver = std::make_unique<HostDriver>();
  return open;
}

/// The two streams of a comparison: the kernels' own, and the CPU's.
struct Streams {
  std::unique_ptr<device::OpenDevice> open = open_host();  // on the heap: g++ 12 doubts a local one
  device::Stream device{*open}, cpu{1};
};

/// `count` elements from `first` on.
inline View part(const View& view, std::int64_t first, std::int64_t count) {
  return {view.data + first * static_cast<std::int64_t>(size_of(view.type)), {1, count}, view.type};
}

}  // namespace sherd::test
