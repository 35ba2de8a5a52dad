#pragma once
// How the ranks of a run learn the id of their NCCL group.
#include <cstddef>
#include <span>

#include "sherd/comm/interface.hpp"

namespace sherd::comm {

/// Rank 0 writes `id` into the pipe of `seat` once for every other rank; the others take one each.
///
/// **Errors** CommError: the run has ended, or nothing came within the seat's time-out.
void share_id(const NcclSeat& seat, std::span<std::byte> id);

}  // namespace sherd::comm
