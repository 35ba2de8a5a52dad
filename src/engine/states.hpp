#pragma once
// Persistent state between programs: filled at start, digested at the end.
#include <array>
#include <string>

#include "sherd/memory/tier.hpp"
#include "sherd/model/weights.hpp"
#include "sherd/plan/plan.hpp"

namespace sherd::engine {

using Arenas = std::array<std::span<std::byte>, memory::tiers>;

/// Host threads that make or read values, and the stream that moves them where they live.
struct Transfer {
  StreamRef host, device;
};

[[nodiscard]] View persistent_view(const plan::Scheduled& scheduled, const Arenas& arenas,
                                   const std::string& name);

/// Writes what this rank owns of master weights and stored parameters.
void load_weights(const plan::Plan& plan, const Arenas& arenas, const model::Weights& weights,
                  const Transfer& transfer);

/// A sum over elements of hash(parameter name, index, fp32 bits): ranks add theirs in any order.
using Digest = std::array<std::uint64_t, 2>;
[[nodiscard]] Digest digest_of(const plan::Plan& plan, const Arenas& arenas,
                               const Transfer& transfer);

}  // namespace sherd::engine
