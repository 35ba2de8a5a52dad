#pragma once
// Collectives over a group of ranks. Every gradient collective is a sum, folded in rank order.
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "sherd/base/units.hpp"
#include "sherd/base/view.hpp"
#include "sherd/kernels/reduction.hpp"

namespace sherd::comm {

enum class Verb : std::uint8_t { all_gather, reduce_scatter, all_reduce, broadcast, barrier };
inline constexpr int verbs = 5;
[[nodiscard]] std::string_view name_of(Verb verb);

/// What a collective is about; part of its fingerprint and of every message.
struct Label {
  std::string_view what;  // "gather bucket 3"
  std::uint64_t key = 0;  // anything that must be equal on all ranks
};

/// Payload bytes this rank has sent, by verb.
using Traffic = std::array<Bytes, verbs>;

struct ReduceScatter {
  View full;                // [1, W·k] this rank's contribution; fp32, bf16 or i64
  View shard;               // [1, k] this rank's result; may be full's own k elements (in place)
  Write mode = Write::set;  // add: onto what shard holds
  kernels::FoldOrder order = kernels::FoldOrder::fast;
  const Philox* round =
      nullptr;  // bf16: stochastic rounding of shard[i] with the bits of first + i
  std::uint64_t first = 0;
};

/// One rank's end of a group.
///
/// **Order** Calls return when complete: the output is whole and the inputs may be overwritten
/// (every peer has finished reading). All ranks issue the same calls in the same order; sequence
/// number and fingerprint {verb, bytes, type, label} are compared, and a difference kills the
/// group. One call at a time, from one thread.
/// **Memory** Operands lie in the arena given at construction, at equal offsets on all ranks.
/// **Errors** CommError naming rank, collective, sequence number and cause: a peer lost, late
/// beyond the time-out, or out of step. The communicator is then dead and every later call repeats
/// the cause.
class Communicator {
 public:
  virtual ~Communicator() = default;
  [[nodiscard]] Rank rank() const { return rank_; }
  [[nodiscard]] int world() const { return world_; }

  /// full[r·k + i] = shard_r[i]. In place when shard is full's own k elements. Sends (W-1)·k
  /// elements.
  virtual void all_gather(View shard, View full, const Label& label) = 0;
  /// shard[i] = fold over ranks r, in order, of full_r[rank·k + i]. Sends (W-1)·k elements.
  virtual void reduce_scatter(const ReduceScatter& call, const Label& label) = 0;
  /// out[i] = fold over ranks r, in order, of in_r[i]; fp32 or i64. `out` must not be `in`. Sends
  /// (W-1)·n/W·2 elements where n is a multiple of W (reduce-scatter, all-gather), (W-1)·n where it
  /// is not.
  virtual void all_reduce(View in, View out, const Label& label) = 0;
  /// data_r = data_root. The root sends (W-1)·n elements.
  virtual void broadcast(View data, Rank root, const Label& label) = 0;
  virtual void barrier(const Label& label) = 0;
  /// Ranks of equal `color` form a group, ordered by this group's rank. Collective; the child
  /// shares the arena.
  [[nodiscard]] virtual std::unique_ptr<Communicator> split(int color) = 0;

  /// Called again and again by whoever waits on the host for work behind a collective: throws when
  /// one has failed or is late.
  virtual void watch() {}

  [[nodiscard]] const Traffic& traffic() const { return traffic_; }

 protected:
  Communicator(Rank rank, int world) : rank_(rank), world_(world) {}
  Traffic traffic_{};

 private:
  Rank rank_;
  int world_;
};

}  // namespace sherd::comm
