#pragma once
// Collectives through NCCL, loaded at run time.
#include <memory>
#include <string>

#include "sherd/comm/interface.hpp"

namespace sherd::comm {

struct NcclLibrary;

/// Stays loaded until the process ends, as NCCL has threads of its own.
///
/// **Errors** CommError: no such library, one that is no NCCL, or NCCL before 2.18.
[[nodiscard]] std::shared_ptr<const NcclLibrary> open_nccl(const std::string& path);

/// The communicator of all ranks of the run on `native_stream`, NCCL's word for seat.stream.
///
/// **Order** sums are NCCL's own order, bf16 rounded to nearest: FoldOrder::left and `round` are
/// refused. `Write::add` onto a separate shard consumes full's own slice. Not to be called while
/// the stream records.
/// **Errors** CommError: NCCL fails, or not all ranks came within the seat's time-out.
[[nodiscard]] std::unique_ptr<Communicator> nccl(const NcclSeat& seat,
                                                 std::shared_ptr<const NcclLibrary> library,
                                                 void* native_stream);

/// The comm row of a device library: NCCL as the system has it, or why it is not built in.
[[nodiscard]] const Interface& nccl_interface();

}  // namespace sherd::comm
