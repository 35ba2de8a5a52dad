#pragma once
// The pictures: bytes a rank holds at each stage, and rows as parts of their bounds.
#include <span>
#include <string>
#include <vector>

#include "sherd/base/units.hpp"
#include "sherd/bench/row.hpp"
#include "sherd/optim/config.hpp"

namespace sherd::bench {

/// Bytes of one rank by stage: states kept between steps, and what a step adds at its peak.
struct HeldBytes {
  struct Stage {
    Bytes params = 0, grads = 0, optimizer = 0, transient = 0;
    [[nodiscard]] Bytes total() const { return params + grads + optimizer + transient; }
  };
  std::string title;
  std::vector<Stage> stages;  // from 0
};

/// Planned for micro-batches of 4 sequences of 64 tokens.
[[nodiscard]] HeldBytes held_by_stage(const std::string& model, optim::Precision precision,
                                      int ranks);

/// One stacked bar a stage.
[[nodiscard]] std::string draw(const HeldBytes& held);

/// One bar a row, as long as its part of its bound; rows without a bound are left out.
[[nodiscard]] std::string draw(std::span<const Row> rows, const std::string& title);

}  // namespace sherd::bench
