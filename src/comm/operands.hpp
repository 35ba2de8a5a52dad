#pragma once
// What every collective demands of its operands, and what of them all ranks must agree on.
#include <cstddef>
#include <span>

#include "comm/fingerprint.hpp"
#include "sherd/comm/communicator.hpp"

namespace sherd::comm {

/// Checks the operands of one rank's calls, whatever carries them out.
///
/// **Errors** UsageError; nothing has changed.
struct Operands {
  std::span<std::byte> arena{};
  Rank rank = 0;
  int world = 1;

  /// `detail` is 1 in place, where `shard` is this rank's part of `full`.
  [[nodiscard]] Call all_gather(View shard, View full, const Label& label) const;
  [[nodiscard]] Call reduce_scatter(const ReduceScatter& call, const Label& label) const;
  /// `detail` is the offset of `out`.
  [[nodiscard]] Call all_reduce(View in, View out, const Label& label) const;
  [[nodiscard]] Call broadcast(View data, Rank root, const Label& label) const;

  /// The elements of `full` that belong to rank `of`.
  [[nodiscard]] View part(View full, Rank of) const;
  /// Payload bytes this rank sends for `call`.
  [[nodiscard]] Bytes sent(const Call& call) const;

 private:
  [[nodiscard]] Bytes offset_of(View view, const char* call) const;
};

}  // namespace sherd::comm
