#pragma once
// A device whose queues hold nothing but the collectives of the fake NCCL: other work waits for
// those and is then done at once.
#include <cstring>
#include <thread>
#include <vector>

#include "sherd/device/stream.hpp"
#include "sherd/kernels/interface.hpp"
#include "support/fake_nccl/fake_nccl.hpp"

namespace sherd::fake_nccl {

inline bool idle(const device::Queue& queue) {
  return fake_nccl_completed(&queue) == fake_nccl_issued(&queue);
}
inline void await(const device::Queue& queue) {
  while (!idle(queue)) std::this_thread::yield();
}

class FakeDriver final : public device::Driver {
 public:
  device::DeviceInfo info() override { return {}; }
  device::Queue* make_queue() override { return reinterpret_cast<device::Queue*>(new Place{}); }
  void drop(device::Queue* queue) noexcept override { delete place(queue); }
  device::Mark* make_mark() override { return reinterpret_cast<device::Mark*>(new Place{}); }
  void drop(device::Mark* mark) noexcept override { delete place(mark); }
  void record(device::Mark& mark, device::Queue& queue) override {
    *place(&mark) = {&queue, fake_nccl_issued(&queue)};
  }
  void gate(device::Queue&, device::Mark& mark) override { await(*place(&mark)->queue); }
  bool reached(device::Mark& mark) override {
    const Place& at = *place(&mark);
    return fake_nccl_completed(at.queue) >= at.count;
  }
  std::byte* allocate(device::Memory, Bytes size) override { return new std::byte[size]{}; }
  void release(device::Memory, std::byte* at) noexcept override { delete[] at; }
  void copy(device::Queue& queue, std::byte* to, const std::byte* from, Bytes size) override {
    await(queue);
    std::memcpy(to, from, size);
  }
  device::PeerHandle name_for_peers(std::byte*) override { return {}; }
  std::byte* open_peer(const device::PeerHandle&) override { return nullptr; }
  void close_peer(std::byte*) noexcept override {}
  void begin_recording(device::Queue&) override {}
  device::Graph* end_recording(device::Queue&) override { return nullptr; }
  void launch(device::Graph&, device::Queue&) override {}
  void drop(device::Graph*) noexcept override {}

 private:
  // Stands for a queue, by its address, and for a mark.
  struct Place {
    const device::Queue* queue = nullptr;
    std::uint64_t count = 0;
  };
  static Place* place(void* at) { return static_cast<Place*>(at); }
};

inline void fold(const kernels::FoldArgs& args, StreamRef stream) {
  await(stream.queue());
  device::Stream here(1);
  kernels::fold(args, here);
}

inline device::OpenDevice open_fake_device() {
  static const kernels::Interface kernels = [] {
    kernels::Interface table{};
    table.fold = fold;
    return table;
  }();
  device::OpenDevice device{.library = {}, .driver = std::make_unique<FakeDriver>()};
  device.library.kernels = &kernels;
  return device;
}

}  // namespace sherd::fake_nccl
