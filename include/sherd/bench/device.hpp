#pragma once
// What `sherd bench` measures on a device: kernels and collectives through the interface that
// training uses, so the emulated device runs the same code.
#include <string>
#include <vector>

#include "sherd/bench/training.hpp"
#include "sherd/comm/communicator.hpp"
#include "sherd/device/stream.hpp"

namespace sherd::bench {

/// Memory-bound kernels at GPT-2 124M's sizes against copies on the device, its and GPT-2 1558M's
/// products against the library's fastest algorithms, attention against the fastest product, and a
/// training step by a child process on `name` ("cuda:0"). Quick: small sizes, GPT-2 tiny.
///
/// `wrong` counts elements of a small call that differ from the CPU, and losses that are not
/// finite.
[[nodiscard]] std::vector<Row> device_step(const device::OpenDevice& device,
                                           const BenchOptions& options, const Children& children,
                                           const std::string& name, const Say& say);

/// AdamW with bf16 and fp32 gradients, Lion and SGD: `options.n` elements (0: 64 Mi, or 1 Mi when
/// quick), against copies on the device.
[[nodiscard]] std::vector<Row> device_optim(const device::OpenDevice& device,
                                            const BenchOptions& options);

/// A rank's arena of collectives on a device, and the queue they are put on.
struct DeviceSeat {
  std::span<std::byte> arena;  // comm_arena() bytes
  device::Stream& stream;
  std::string backend;  // of the rows
};
/// As comm_rank, with copies on the device as the bound.
[[nodiscard]] std::vector<Row> device_comm_rank(comm::Communicator& comm, const DeviceSeat& seat,
                                                const BenchOptions& options);

}  // namespace sherd::bench
