#pragma once
// A driver that lets the host wait at least once for every mark, and tells whether it watched.
#include <memory>
#include <utility>

#include "sherd/device/library.hpp"

namespace sherd::test {

/// Waits of one thread between `start` and `stop`.
struct Polls {
  bool on = false, due = false;
  int waits = 0, unwatched = 0;

  void start() { on = true; }
  void stop() { on = due = false; }
  void watched() { due = false; }
  /// One more look at a mark; true if it must be in vain.
  bool look() {
    if (!on) return false;
    if (std::exchange(due, false)) ++unwatched;
    due = ++waits % 2 == 1;
    return due;
  }
};

class ImpatientDriver final : public device::Driver {
 public:
  ImpatientDriver(std::unique_ptr<device::Driver> inner, Polls& polls)
      : inner_(std::move(inner)), polls_(polls) {}

  bool reached(device::Mark& mark) override { return !polls_.look() && inner_->reached(mark); }

  device::DeviceInfo info() override { return inner_->info(); }
  device::Queue* make_queue() override { return inner_->make_queue(); }
  void drop(device::Queue* queue) noexcept override { inner_->drop(queue); }
  device::Mark* make_mark() override { return inner_->make_mark(); }
  void drop(device::Mark* mark) noexcept override { inner_->drop(mark); }
  void record(device::Mark& mark, device::Queue& queue) override { inner_->record(mark, queue); }
  void gate(device::Queue& queue, device::Mark& mark) override { inner_->gate(queue, mark); }
  std::byte* allocate(device::Memory kind, Bytes size) override {
    return inner_->allocate(kind, size);
  }
  void release(device::Memory kind, std::byte* at) noexcept override { inner_->release(kind, at); }
  void copy(device::Queue& queue, std::byte* to, const std::byte* from, Bytes size) override {
    inner_->copy(queue, to, from, size);
  }
  device::PeerHandle name_for_peers(std::byte* allocation) override {
    return inner_->name_for_peers(allocation);
  }
  std::byte* open_peer(const device::PeerHandle& handle) override {
    return inner_->open_peer(handle);
  }
  void close_peer(std::byte* at) noexcept override { inner_->close_peer(at); }
  void begin_recording(device::Queue& queue) override { inner_->begin_recording(queue); }
  device::Graph* end_recording(device::Queue& queue) override {
    return inner_->end_recording(queue);
  }
  void launch(device::Graph& graph, device::Queue& queue) override { inner_->launch(graph, queue); }
  void drop(device::Graph* graph) noexcept override { inner_->drop(graph); }

 private:
  std::unique_ptr<device::Driver> inner_;
  Polls& polls_;
};

inline void make_impatient(device::OpenDevice& device, Polls& polls) {
  device.driver = std::make_unique<ImpatientDriver>(std::move(device.driver), polls);
}

}  // namespace sherd::test
