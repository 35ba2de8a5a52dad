#pragma once
// How a bucket's state is cut over tiers, and where each part of it lies.
#include <optional>
#include <string>
#include <vector>

#include "sherd/plan/program.hpp"
#include "sherd/plan/setup.hpp"

namespace sherd::plan {

/// Elements of a bucket that move at once and live in one tier.
struct Tile {
  shard::Range range;
  bool low = false;  // not on the device, where the state has another home
};
/// Of each shard in `extent` (one rank's, or the whole bucket) first what stays on the device, then
/// what does not, both in tiles.
[[nodiscard]] std::vector<Tile> tiles_of(const Setup& setup, std::size_t bucket,
                                         shard::Range extent);

/// A state of a bucket as it is before it is cut.
struct StateBuffer {
  std::string name;  // "p.full[2]", "m[0]"
  std::size_t bucket = 0;
  DType type = DType::f32;
  Tier home = Tier::device;
  shard::Range extent;  // elements of the bucket it holds

  [[nodiscard]] bool moved() const { return home != Tier::device; }
  /// The buffer that holds what does not stay on the device: "m[0].file".
  [[nodiscard]] std::string low_name() const {
    return name + "." + std::string(memory::name_of(home));
  }
};
enum class State : std::uint8_t { param, master, moment1, moment2 };
/// The stored parameters: "p.shard" where they are sharded, "q.full" where they are 8-bit blocks.
[[nodiscard]] StateBuffer param_buffer(const Setup& setup, std::size_t bucket);
/// Nothing where the formats have no such state: without master weights the parameter is them.
[[nodiscard]] std::optional<StateBuffer> state_buffer(const Setup& setup, State state,
                                                      std::size_t bucket);
/// Where a tier other than the device holds the state of that buffer.
[[nodiscard]] Tier home_of(const Setup& setup, const Buffer& buffer);

/// A tile of a state where it lies. On file it is a record, which starts at `first`.
struct Run {
  shard::Range range;
  bool low = false;
  Bytes first = 0, size = 0;  // in the buffer `name`, or `low_name()`; size of the payload
};
/// In the order of elements; one run for a state that was not moved.
[[nodiscard]] std::vector<Run> runs_of(const Setup& setup, const StateBuffer& state);
/// One behind the other, in each of the two buffers.
void lay_out(const StateBuffer& state, std::vector<Run>& runs);
/// Bytes of the buffers that hold the runs: what stays, and the rest.
struct RunBytes {
  Bytes kept = 0, low = 0;
};
[[nodiscard]] RunBytes bytes_of_runs(const StateBuffer& state, const std::vector<Run>& runs);

}  // namespace sherd::plan
