#pragma once
// What this process may use, and what it uses.
#include "sherd/base/units.hpp"

namespace sherd::launch {

/// Cores this process may run on.
[[nodiscard]] int usable_cores();
/// Free memory: the machine's, or what the process's cgroup leaves, whichever is less.
[[nodiscard]] Bytes free_memory();
/// Resident bytes of this process now, and the most there ever were; mapped pages of peers count.
[[nodiscard]] Bytes resident();
[[nodiscard]] Bytes peak_resident();

}  // namespace sherd::launch
