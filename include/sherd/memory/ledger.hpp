#pragma once
// Counts the bytes that executed steps really touched. It knows when a buffer lives, never how
// large it was planned.
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "sherd/base/units.hpp"
#include "sherd/memory/tier.hpp"

namespace sherd::memory {

/// One buffer of one program, as placed.
struct Entry {
  Tier tier = Tier::device;
  Use use = Use::activations;
  Bytes offset = 0;
  std::uint32_t born = 0, dies = 0;  // issue indices in its program, inclusive
  bool persistent = false;
};

struct TierUse {
  Bytes arena = 0;                 // end of the highest byte touched
  std::array<Bytes, uses> peak{};  // touched bytes by use where most are live at once
  std::array<Bytes, uses> persistent{};
};

class Ledger {
 public:
  /// Registers a program's buffers; returns its number.
  std::size_t add(std::vector<Entry> entries, std::uint32_t steps);
  /// A step of the program touched bytes [.., end) of a buffer.
  void touch(std::size_t program, std::size_t buffer, Bytes end) {
    Bytes& extent = programs_[program].extent[buffer];
    if (end > extent) {
      extent = end;
      ++changes_;
    }
  }
  [[nodiscard]] TierUse measured(Tier tier) const;
  /// How often a buffer grew: stands still once every program has run.
  [[nodiscard]] std::uint64_t changes() const { return changes_; }

 private:
  struct Program {
    std::vector<Entry> entries;
    std::vector<Bytes> extent;
    std::uint32_t steps = 0;
  };
  std::vector<Program> programs_;
  std::uint64_t changes_ = 0;
};

}  // namespace sherd::memory
