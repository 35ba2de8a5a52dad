#pragma once
// What a rank process is told by the one that started it, as one environment variable.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sherd/base/units.hpp"

namespace sherd::launch {

/// The variable's name; who may read the environment does so and calls `parse`.
inline constexpr const char* rank_variable = "SHERD_RANK";

struct RankEnvironment {
  Rank rank = 0;
  int world = 1;
  int control_fd = -1;           // for comm::ControlBlock::attach
  std::vector<int> arena_fds{};  // by rank: unsized memfds, own one included
  int id_from = -1, id_to = -1;  // a pipe for the group id of NCCL: all read, rank 0 writes
  bool operator==(const RankEnvironment&) const = default;
};

/// `rank=1 world=2 control=3 arenas=4,5`.
[[nodiscard]] std::string format(const RankEnvironment& environment);
/// The inverse; nothing unless every part is there, in range, and nothing else.
[[nodiscard]] std::optional<RankEnvironment> parse_rank(std::string_view text);

}  // namespace sherd::launch
