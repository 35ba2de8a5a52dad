#pragma once
// Queues of an emulated device are threads; marks are counters; a recording is a graph of closures.
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "sherd/device/stream.hpp"

namespace sherd::emulator {

struct Settings {
  int devices = 2;
  Bytes memory = 64 * gib;
  std::int64_t failing_kernel = 0;  // counted from 1; 0: none
  bool records = true;              // false: every recording is refused at its end
  std::uint64_t jitter = 0;         // seed of random delays and orders; 0: none
};
/// SHERD_EMULATED_DEVICES, _MEMORY, _FAIL=launch:N, _JITTER=seed.
[[nodiscard]] Settings settings();

/// Whether the device still works; the first failure lasts.
class Health {
 public:
  explicit Health(std::int64_t failing_kernel) : failing_kernel_(failing_kernel) {}
  void fail(const std::string& why);
  void check() const;  // **Errors** DeviceError
  [[nodiscard]] bool failed() const;
  void count_kernel();  // fails at the one that shall

 private:
  mutable std::mutex mutex_;
  std::string why_;
  std::int64_t kernels_ = 0, failing_kernel_;
};

/// What a queue's thread computes with.
struct Hands {
  device::Stream cpu{1};
  std::vector<std::vector<std::byte>> rooms;  // scratch of the running closure

  /// Bytes aligned to 64, until the closure ends.
  std::byte* room(Bytes size);
};
using Work = std::function<void(Hands&)>;

/// What a mark counts: how often it was put on a queue, and which of these has run.
struct Count {
  std::mutex mutex;
  std::condition_variable moved;
  std::uint64_t issued = 0, done = 0;

  std::uint64_t issue();
  void finish(std::uint64_t number);
  void await(std::uint64_t number);
};

struct Node {
  Work work;
  std::set<std::size_t> after;  // earlier nodes
};
/// What is being recorded: one at a time per origin.
struct Recording {
  device::Queue* origin = nullptr;
  std::vector<Node> nodes;
  bool ended = false;
};

struct Device {
  explicit Device(const Settings& from) : settings(from), health(from.failing_kernel) {}
  Settings settings;
  Health health;
  std::mutex mutex;  // of recordings, and of who belongs to which
  std::set<device::Queue*> queues;
};

}  // namespace sherd::emulator

namespace sherd::device {

struct Mark {
  std::shared_ptr<emulator::Count> count = std::make_shared<emulator::Count>();
  std::shared_ptr<emulator::Recording> inside;  // last recorded there, for queues
  std::set<std::size_t> after;                  // of that recording's nodes
};
struct Graph {
  std::shared_ptr<const std::vector<emulator::Node>> nodes;
};

struct Queue {
  explicit Queue(emulator::Device& on);
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  /// Runs `work` after what is there; records it where this queue is being recorded.
  void put(emulator::Work work);
  void put_kernel(emulator::Work work);  // one that may be the failing one
  void drain();

  emulator::Device& device;
  std::shared_ptr<emulator::Recording> recording;  // under device.mutex, as the next
  std::set<std::size_t> after;

  void push(emulator::Work work);  // past any recording
  void add(emulator::Node node);   // to the recording; under device.mutex

 private:
  void serve();

  std::mutex mutex_;
  std::condition_variable filled_;
  std::deque<emulator::Work> work_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace sherd::device
