#pragma once
// The comm row's part of a device library.
#include <chrono>
#include <memory>

#include "sherd/comm/communicator.hpp"
#include "sherd/comm/control_block.hpp"
#include "sherd/device/stream.hpp"

namespace sherd::comm {

/// One rank's seat among ranks that talk through NCCL.
struct NcclSeat {
  ControlBlock* control = nullptr;      // outlives the communicator
  Rank rank = 0;                        // of control->world
  std::span<std::byte> arena{};         // this rank's device arena, registered once
  device::Stream* stream = nullptr;     // of the net lane
  std::chrono::nanoseconds timeout{0};  // how long a collective may take
  int id_from = -1, id_to = -1;         // a pipe that all ranks hold: rank 0 writes the group's id
};

struct Interface {
  /// **Errors** CommError: NCCL is not there or fails, or not all ranks came in time.
  std::unique_ptr<Communicator> (*nccl)(const NcclSeat& seat);
  /// Empty when NCCL can be loaded; otherwise why not.
  std::string (*why_no_nccl)();
};

}  // namespace sherd::comm
