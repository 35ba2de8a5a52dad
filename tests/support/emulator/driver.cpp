#include "support/emulator/driver.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "sherd/base/errors.hpp"
#include "support/emulator/memory.hpp"
#include "support/emulator/queue.hpp"

namespace sherd::emulator {
namespace {

using device::Graph;
using device::Mark;
using device::Queue;
using Nodes = std::vector<Node>;

// Any order that honours the edges is one that a device may choose.
std::vector<std::size_t> some_order(const Nodes& nodes, std::uint64_t seed) {
  std::vector<std::size_t> order, ready;
  if (seed == 0) {
    for (std::size_t i = 0; i < nodes.size(); ++i) order.push_back(i);
    return order;
  }
  std::vector<bool> ran(nodes.size(), false);
  std::minstd_rand random(static_cast<std::minstd_rand::result_type>(seed));
  while (order.size() < nodes.size()) {
    ready.clear();
    for (std::size_t i = 0; i < nodes.size() && ready.size() < 8; ++i) {
      const auto& after = nodes[i].after;
      if (!ran[i] && std::all_of(after.begin(), after.end(), [&](std::size_t j) { return ran[j]; }))
        ready.push_back(i);
    }
    const std::size_t next = ready[random() % ready.size()];
    ran[next] = true;
    order.push_back(next);
  }
  return order;
}

// Is every node before the frontier of the origin?
bool is_joined(const Nodes& nodes, const std::set<std::size_t>& frontier) {
  std::vector<bool> seen(nodes.size(), false);
  for (const std::size_t last : frontier) seen[last] = true;
  for (std::size_t i = nodes.size(); i-- > 0;) {
    if (!seen[i]) return false;  // edges lead to earlier nodes only
    for (const std::size_t before : nodes[i].after) seen[before] = true;
  }
  return true;
}

class EmulatedDriver final : public device::Driver {
 public:
  EmulatedDriver(int index, const Settings& from) : index_(index), device_(from) {}
  ~EmulatedDriver() override {
    while (!device_.queues.empty()) drop(*device_.queues.begin());
  }

  device::DeviceInfo info() override {
    const Bytes all = device_.settings.memory, used = memory().used(index_);
    device::DeviceInfo info{.index = index_,
                            .name = "emulated device",
                            .version = "emulated",
                            .memory = all,
                            .free = all - std::min(all, used)};
    info.uuid.fill(std::byte{0xe0});
    info.uuid.back() = static_cast<std::byte>(index_);
    return info;
  }

  Queue* make_queue() override {
    device_.health.check();
    auto queue = std::make_unique<Queue>(device_);
    const std::scoped_lock lock(device_.mutex);
    device_.queues.insert(queue.get());
    return queue.release();
  }
  void drop(Queue* queue) noexcept override {
    {
      const std::scoped_lock lock(device_.mutex);
      if (queue->recording && queue->recording->origin == queue) abandon(queue->recording);
      device_.queues.erase(queue);
    }
    delete queue;
  }
  Mark* make_mark() override {
    device_.health.check();
    return new Mark;
  }
  void drop(Mark* mark) noexcept override { delete mark; }

  void record(Mark& mark, Queue& queue) override;
  void gate(Queue& queue, Mark& mark) override;
  bool reached(Mark& mark) override;

  std::byte* allocate(device::Memory kind, Bytes size) override;
  void release(device::Memory, std::byte* at) noexcept override { free(at); }
  void copy(Queue& queue, std::byte* to, const std::byte* from, Bytes size) override;

  device::PeerHandle name_for_peers(std::byte* allocation) override {
    device_.health.check();
    return memory().name_for_peers(allocation);
  }
  std::byte* open_peer(const device::PeerHandle& handle) override {
    device_.health.check();
    return memory().open_peer(handle);
  }
  void close_peer(std::byte* at) noexcept override { free(at); }

  void begin_recording(Queue& queue) override;
  Graph* end_recording(Queue& queue) override;
  void launch(Graph& graph, Queue& queue) override;
  void drop(Graph* graph) noexcept override { delete graph; }

 private:
  static Memory& memory() { return Memory::of_process(); }
  // As cudaFree: after all work of the device.
  void free(std::byte* at) noexcept {
    std::set<Queue*> queues;
    {
      const std::scoped_lock lock(device_.mutex);
      queues = device_.queues;
    }
    for (Queue* queue : queues) queue->drain();
    memory().release(at);
  }
  void abandon(const std::shared_ptr<Recording> recording) {
    recording->ended = true;
    for (Queue* queue : device_.queues) {
      if (queue->recording != recording) continue;
      queue->recording = nullptr;
      queue->after.clear();
    }
  }

  int index_;
  Device device_;
};

void EmulatedDriver::record(Mark& mark, Queue& queue) {
  device_.health.check();
  const std::scoped_lock lock(device_.mutex);
  if (queue.recording) {
    mark.inside = queue.recording;
    mark.after = queue.after;
    return;
  }
  mark.inside = nullptr;
  queue.push([count = mark.count, number = mark.count->issue()](Hands&) { count->finish(number); });
}

void EmulatedDriver::gate(Queue& queue, Mark& mark) {
  device_.health.check();
  const std::scoped_lock lock(device_.mutex);
  if (mark.inside) {
    if (mark.inside->ended)
      throw DeviceError("emulated: gate: the mark was put into a recording that has ended");
    if (queue.recording && queue.recording != mark.inside)
      throw DeviceError("emulated: gate: the mark belongs to another recording");
    queue.recording = mark.inside;
    queue.after.insert(mark.after.begin(), mark.after.end());
    return;
  }
  const std::scoped_lock counting(mark.count->mutex);
  if (mark.count->issued == 0 && !queue.recording) return;
  if (queue.recording)
    throw DeviceError("emulated: gate: a recording waits for a mark put outside of it");
  queue.push([count = mark.count, number = mark.count->issued](Hands&) { count->await(number); });
}

bool EmulatedDriver::reached(Mark& mark) {
  device_.health.check();
  const std::scoped_lock lock(device_.mutex);
  if (mark.inside) throw DeviceError("emulated: reached: the mark was put into a recording");
  const std::scoped_lock counting(mark.count->mutex);
  return mark.count->done >= mark.count->issued;
}

std::byte* EmulatedDriver::allocate(device::Memory kind, Bytes size) {
  device_.health.check();
  {
    const std::scoped_lock lock(device_.mutex);
    for (const Queue* queue : device_.queues) {
      if (queue->recording) throw DeviceError("emulated: allocate: a queue is being recorded");
    }
  }
  if (kind == device::Memory::pinned) return memory().pin(size);
  return memory().allocate(index_, size, device_.settings.memory);
}

void EmulatedDriver::copy(Queue& queue, std::byte* to, const std::byte* from, Bytes size) {
  const auto pageable = [](const std::byte* at) { return memory().side_of(at) == Side::pageable; };
  const bool waits = pageable(to) || pageable(from);
  std::byte* target = pageable(to) ? to : memory().real(to, size);
  const std::byte* source = pageable(from) ? from : memory().real(from, size);
  if (waits) {
    const std::scoped_lock lock(device_.mutex);
    if (queue.recording) throw DeviceError("emulated: copy: pageable memory in a recording");
  }
  queue.put([=](Hands&) { std::memmove(target, source, size); });
  if (waits) queue.drain();
  if (waits) device_.health.check();
}

void EmulatedDriver::begin_recording(Queue& queue) {
  device_.health.check();
  const std::scoped_lock lock(device_.mutex);
  if (queue.recording) throw DeviceError("emulated: begin_recording: the queue is being recorded");
  queue.recording = std::make_shared<Recording>();
  queue.recording->origin = &queue;
  queue.after.clear();
}

Graph* EmulatedDriver::end_recording(Queue& queue) {
  device_.health.check();
  const std::scoped_lock lock(device_.mutex);
  const std::shared_ptr<Recording> recording = queue.recording;
  if (!recording || recording->origin != &queue)
    throw DeviceError("emulated: end_recording: no recording began on this queue");
  const bool joined = is_joined(recording->nodes, queue.after);
  abandon(recording);
  if (!device_.settings.records) throw DeviceError("emulated: end_recording: refused, as asked");
  if (!joined) throw DeviceError("emulated: end_recording: a queue was not joined to the origin");
  return new Graph{std::make_shared<const Nodes>(std::move(recording->nodes))};
}

void EmulatedDriver::launch(Graph& graph, Queue& queue) {
  device_.health.check();
  const std::scoped_lock lock(device_.mutex);
  if (queue.recording) throw DeviceError("emulated: launch: the queue is being recorded");
  queue.push([nodes = graph.nodes, seed = device_.settings.jitter](Hands& hands) {
    for (const std::size_t i : some_order(*nodes, seed)) {
      (*nodes)[i].work(hands);
      hands.rooms.clear();
    }
  });
}

}  // namespace

int count() {
  const int devices = settings().devices;
  if (devices < 1) throw DeviceError("emulated: there is no device");
  return devices;
}

std::unique_ptr<device::Driver> open(int index) {
  return std::make_unique<EmulatedDriver>(index, settings());
}

}  // namespace sherd::emulator
