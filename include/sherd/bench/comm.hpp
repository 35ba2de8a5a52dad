#pragma once
// The collectives of a training step between ranks of one machine.
#include <span>
#include <vector>

#include "sherd/bench/rows.hpp"
#include "sherd/comm/communicator.hpp"
#include "sherd/plan/simulate.hpp"

namespace sherd::bench {

/// Bytes of each rank's arena.
[[nodiscard]] Bytes comm_arena();

/// Reduce-scatter, all-gather and all-reduce of 16 MiB fp32, each beside copies that move as many
/// bytes: both operands of a fold read and the result written, peers' parts read and written.
///
/// **Order** collective; each rank gets the rows as it saw them.
[[nodiscard]] std::vector<Row> comm_rank(comm::Communicator& comm, std::span<std::byte> arena,
                                         const BenchOptions& options);

/// Rates for plan::simulate, of `options.threads` threads: the library's products at a layer's
/// sizes, read-modify-write in memory, and an all-gather between two ranks of one thread each.
[[nodiscard]] plan::Machine measure_machine(const BenchOptions& options);

/// The rates as a row whose extra keys are plan::Machine's fields.
[[nodiscard]] Row machine_row(const plan::Machine& rates, const BenchOptions& options);

}  // namespace sherd::bench
