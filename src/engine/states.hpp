#pragma once
// Persistent state between programs: filled at start, digested at the end.
#include <array>
#include <string>
#include <vector>

#include "sherd/checkpoint/checkpoint.hpp"
#include "sherd/io/record_file.hpp"
#include "sherd/memory/arena.hpp"
#include "sherd/memory/tier.hpp"
#include "sherd/model/weights.hpp"
#include "sherd/plan/plan.hpp"
#include "sherd/plan/tiles.hpp"

namespace sherd::engine {

using Arenas = std::array<std::span<std::byte>, memory::tiers>;

/// Where a rank's state is, the host threads that make or read values, and the stream that moves
/// them where they live.
struct Residence {
  const plan::Plan& plan;
  const Arenas& arenas;
  io::RecordFile* file = nullptr;  // needed where the plan has a file tier
  StreamRef host, device;
};

[[nodiscard]] View persistent_view(const plan::Scheduled& scheduled, const Arenas& arenas,
                                   const std::string& name);

/// Where a state of one bucket lies: looked up once, for all its tiles.
struct StatePlace {
  StatePlace(const Residence& residence, plan::StateBuffer of);

  const Residence& in;
  plan::StateBuffer state;
  std::vector<plan::Run> runs;
  Bytes kept = 0, low = 0;  // offsets of the two buffers in their tiers
};

/// One tile of a state in host memory, wherever its home is.
///
/// **Memory** a copy, unless the home is memory that the host may touch. `range` is a tile of
/// plan::tiles_of, or a part of one that is not on file.
class HeldTile {
 public:
  enum class Fill : std::uint8_t { zero, current };
  HeldTile(const StatePlace& place, shard::Range range, Fill fill);

  [[nodiscard]] const View& view() const { return view_; }
  /// The home becomes what the view holds.
  void put() const;

 private:
  const Residence& in_;
  View view_{}, home_{};
  Bytes offset_ = 0;    // of the record
  std::string record_;  // its name; empty: not on file
  memory::Arena held_;  // empty: the view is the home
};

/// Writes what this rank owns of master weights and stored parameters; other state starts at zero.
/// Where `from`, whose weights they are, keeps 8-bit blocks as this run does, these are copied.
void load_weights(const Residence& in, const model::Weights& weights,
                  const checkpoint::Checkpoint* from = nullptr);

/// The moments of this rank, of a checkpoint that may keep them in another format.
void load_moments(const Residence& in, const checkpoint::Checkpoint& from);

/// Of the master weights this rank owns (checkpoint/parameters_hash.hpp); ranks add theirs.
using checkpoint::Digest;
[[nodiscard]] Digest digest_of(const Residence& in);

}  // namespace sherd::engine
