#pragma once
// What a device library offers to every row above: queues, marks in them, bytes. The library is
// opened at run time, so a run on the CPU pays nothing for it.
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "sherd/base/units.hpp"

namespace sherd::device {

/// An in-order queue of the device, a place in one, a recorded piece of one. Defined by the
/// library.
struct Queue;
struct Mark;
struct Graph;

struct DeviceInfo {
  int index = 0;
  std::string name, version;         // "NVIDIA H200", "driver 12.8, runtime 13.0, sm_90"
  Bytes memory = 0, free = 0;        // free: now, other processes counted
  std::array<std::byte, 16> uuid{};  // of the card: equal where ranks share one
};

enum class Memory : std::uint8_t { device, pinned };
/// Names a device allocation to the other processes of the machine.
using PeerHandle = std::array<std::byte, 64>;

/// One device, as this process sees it.
///
/// **Order** calls that take a queue put work on it and return. A mark put on a queue that records
/// orders the recording and nothing else. `reached` never waits. Copies from
/// and to host memory are in order only for pinned memory.
/// **Errors** DeviceError with the library's own reason: the device is lost, nothing here works any
/// more. CapacityError from `allocate`, CommError from `open_peer`: the device stays usable.
class Driver {
 public:
  virtual ~Driver() = default;
  [[nodiscard]] virtual DeviceInfo info() = 0;

  [[nodiscard]] virtual Queue* make_queue() = 0;
  virtual void drop(Queue* queue) noexcept = 0;  // after its work
  [[nodiscard]] virtual Mark* make_mark() = 0;
  virtual void drop(Mark* mark) noexcept = 0;
  virtual void record(Mark& mark, Queue& queue) = 0;
  virtual void gate(Queue& queue, Mark& mark) = 0;  // what follows in `queue` waits for `mark`
  [[nodiscard]] virtual bool reached(Mark& mark) = 0;

  [[nodiscard]] virtual std::byte* allocate(Memory kind, Bytes size) = 0;  // zeroed
  virtual void release(Memory kind, std::byte* at) noexcept = 0;
  virtual void copy(Queue& queue, std::byte* to, const std::byte* from, Bytes size) = 0;

  [[nodiscard]] virtual PeerHandle name_for_peers(std::byte* allocation) = 0;
  [[nodiscard]] virtual std::byte* open_peer(const PeerHandle& handle) = 0;
  virtual void close_peer(std::byte* at) noexcept = 0;

  /// Between the two, work put on `queue`, and on queues gated behind it, is recorded, not run.
  virtual void begin_recording(Queue& queue) = 0;
  [[nodiscard]] virtual Graph* end_recording(Queue& queue) = 0;
  virtual void launch(Graph& graph, Queue& queue) = 0;
  virtual void drop(Graph* graph) noexcept = 0;
};

/// The device row's part of a library.
struct Interface {
  /// How many devices work. **Errors** DeviceError with the driver's reason when none can.
  int (*count)();
  std::string (*name)(int index);
  std::unique_ptr<Driver> (*open)(int index);
};

}  // namespace sherd::device
