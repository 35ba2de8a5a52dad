#pragma once
// What this process may use, and what it uses.
#include <span>
#include <vector>

#include "sherd/base/units.hpp"

namespace sherd::launch {

/// Cores this process may run on.
[[nodiscard]] int usable_cores();
/// Rank `rank`'s of them, when `world` ranks get equally many, neighbours by number: at least one.
[[nodiscard]] std::vector<int> share_of_cores(Rank rank, int world);
/// The calling thread, and every thread that it starts from now on, runs on `cores` only.
/// **Errors** DeviceError.
void bind_to(std::span<const int> cores);
/// Free memory: the machine's, or what the process's cgroup leaves, whichever is less.
[[nodiscard]] Bytes free_memory();
/// Resident bytes of this process now, and the most there ever were; mapped pages of peers count.
[[nodiscard]] Bytes resident();
[[nodiscard]] Bytes peak_resident();

}  // namespace sherd::launch
