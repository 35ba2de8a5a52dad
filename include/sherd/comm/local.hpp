#pragma once
// Collectives between ranks of one machine, by reading each other's arenas.
#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "sherd/comm/communicator.hpp"
#include "sherd/comm/control_block.hpp"
#include "sherd/device/stream.hpp"

namespace sherd::comm {

/// How a rank reads the arenas of the others.
class PeerArenas {
 public:
  virtual ~PeerArenas() = default;
  /// Makes the arena of `rank` known to those who read it.
  virtual void publish(Rank rank, std::span<std::byte> arena) = 0;
  /// `size` bytes at `offset` of the arena of `rank`, readable until dropped.
  ///
  /// **Errors** CommError when the arena is smaller or cannot be mapped.
  virtual const std::byte* window(Rank rank, Bytes offset, Bytes size) = 0;
  virtual void drop(const std::byte* window, Bytes size) noexcept = 0;
  /// Copies from `offset` of the arena of `rank` on; leaves nothing resident.
  ///
  /// **Errors** as window.
  virtual void read(Rank rank, Bytes offset, std::span<std::byte> to) = 0;
};

/// Ranks are processes; `fds[r]` is the memfd of rank r's arena (not owned, must outlive this).
///
/// **Memory** A peer's arena is mapped whole, read only; a dropped window is no longer resident.
[[nodiscard]] std::shared_ptr<PeerArenas> mapped_arenas(std::vector<int> fds);

/// Ranks are threads of this process and share the object returned.
[[nodiscard]] std::shared_ptr<PeerArenas> thread_arenas(int world);

/// Ranks are processes whose arenas are allocations of a device; their handles travel in the files
/// `fds[r]` (not owned, must outlive this).
///
/// **Memory** a peer's arena is opened whole, once; windows are the device's own addresses.
[[nodiscard]] std::shared_ptr<PeerArenas> device_arenas(const device::OpenDevice& device,
                                                        std::vector<int> fds);

/// One rank's seat in the run.
struct LocalRank {
  ControlBlock* control = nullptr;      // shared by all ranks; outlives the communicator
  Rank rank = 0;                        // of control->world
  std::span<std::byte> arena{};         // this rank's own; not needed when the world is 1
  std::shared_ptr<PeerArenas> peers{};  // likewise
  std::chrono::nanoseconds timeout{0};  // how long a rank may keep the others waiting
  device::Stream* stream = nullptr;     // where data moves if the arena is a device's; else the CPU
};

/// The communicator of all ranks of the run; never waits.
///
/// **Order** A rank that is late by less than the time-out, stopped and continued included, does
/// no harm. A process that was itself stopped does not count that time against its peers.
[[nodiscard]] std::unique_ptr<Communicator> local(const LocalRank& seat);

}  // namespace sherd::comm
