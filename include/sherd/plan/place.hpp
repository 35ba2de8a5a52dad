#pragma once
// Offsets for every buffer, and the waits that placed bytes need.
#include <array>
#include <span>
#include <string>
#include <vector>

#include "sherd/plan/program.hpp"

namespace sherd::plan {

inline constexpr Bytes alignment = 256;
/// What a buffer's offset is a multiple of: more than `alignment` where direct transfers go.
[[nodiscard]] Bytes alignment_of(const Buffer& buffer);

struct Placement {
  Bytes offset = 0;
  std::uint32_t born = 0, dies = 0;  // issue indices, inclusive
};
using ByUse = std::array<Bytes, memory::uses>;

struct MemoryPlan {
  std::vector<std::vector<Placement>> at;    // by program, by BufferId
  std::array<Bytes, memory::tiers> arena{};  // the one allocation per tier: the largest program's
  std::array<ByUse, memory::tiers> peak{};   // live bytes by use where most bytes are live
  [[nodiscard]] Bytes live(Tier tier) const;
};
/// Persistent buffers first, by name, at equal offsets in all programs; transients above, largest
/// first at the lowest offset that is free for their whole life. `window`: see Phase::pace.
[[nodiscard]] MemoryPlan place(std::span<const Program> programs, int window);

/// `step` starts after the latest issue of `on`, if there was one.
struct Wait {
  std::uint32_t step = 0, on = 0;
  bool operator==(const Wait&) const = default;
};
/// Derived from overlapping placed bytes, walked round the cycle; what earlier waits imply is left
/// out.
[[nodiscard]] std::vector<Wait> order(const Program& program, std::span<const Placement> at);

/// Re-checks every conflicting pair by brute force; each race as a sentence.
[[nodiscard]] std::vector<std::string> races(const Program& program, std::span<const Placement> at,
                                             std::span<const Wait> waits);

}  // namespace sherd::plan
