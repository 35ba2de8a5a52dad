#pragma once
// Plans and ledgers as the tables of events.
#include "sherd/cli/events.hpp"
#include "sherd/memory/ledger.hpp"
#include "sherd/plan/plan.hpp"

namespace sherd::cli {

[[nodiscard]] MemoryTable planned_table(const plan::Plan& plan);
[[nodiscard]] MemoryTable measured_table(const memory::Ledger& ledger, Bytes runtime);

}  // namespace sherd::cli
