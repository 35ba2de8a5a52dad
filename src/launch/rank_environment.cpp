#include "sherd/launch/rank_environment.hpp"

#include <charconv>

#include "sherd/comm/control_block.hpp"

namespace sherd::launch {
namespace {

// Takes `prefix` and a number off the front of `text`.
bool take(std::string_view& text, std::string_view prefix, int& value) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || value < 0) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

}  // namespace

std::string format(const RankEnvironment& environment) {
  std::string text = "rank=" + std::to_string(environment.rank) +
                     " world=" + std::to_string(environment.world) +
                     " control=" + std::to_string(environment.control_fd) + " arenas";
  char separator = '=';
  for (const int fd : environment.arena_fds) {
    text += separator + std::to_string(fd);
    separator = ',';
  }
  text += " pipe=" + std::to_string(environment.id_from) + "," + std::to_string(environment.id_to);
  return text;
}

std::optional<RankEnvironment> parse_rank(std::string_view text) {
  RankEnvironment environment;
  if (!take(text, "rank=", environment.rank)) return std::nullopt;
  if (!take(text, " world=", environment.world)) return std::nullopt;
  if (!take(text, " control=", environment.control_fd)) return std::nullopt;
  if (environment.world < 1 || environment.world > comm::ControlBlock::max_ranks) {
    return std::nullopt;
  }
  if (environment.rank >= environment.world) return std::nullopt;
  for (Rank rank = 0; rank < environment.world; ++rank) {
    int fd = -1;
    if (!take(text, rank == 0 ? " arenas=" : ",", fd)) return std::nullopt;
    environment.arena_fds.push_back(fd);
  }
  if (!take(text, " pipe=", environment.id_from)) return std::nullopt;
  if (!take(text, ",", environment.id_to)) return std::nullopt;
  if (!text.empty()) return std::nullopt;
  return environment;
}

}  // namespace sherd::launch
