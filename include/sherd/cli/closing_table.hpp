#pragma once
// What a run's memory was, beside what was planned.
#include <string>

#include "sherd/cli/events.hpp"

namespace sherd::cli {

struct ClosingTable {
  MemoryTable planned;
  MemoryTable measured;
  MemoryTable stage0;              // planned for the same run without sharding or offload
  int zero_stage = 0;              // what `planned` is for
  std::string beside = "stage 0";  // what `stage0` is called
};

/// A line per tier and use that is not empty, and one per tier's peak and runtime; bytes per rank.
[[nodiscard]] std::string closing_table(const ClosingTable& table);

}  // namespace sherd::cli
