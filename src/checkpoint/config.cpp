#include "sherd/checkpoint/config.hpp"

#include <charconv>
#include <cmath>

namespace sherd::checkpoint {

std::optional<SaveEvery> parse_save_every(std::string_view text) {
  if (text == "auto") return SaveEvery{true, 0};
  SaveEvery every;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), every.steps);
  if (text.empty() || end.ec != std::errc{} || end.ptr != text.data() + text.size()) return {};
  return every;
}

double best_interval(double cost, double failures_per_day) {
  constexpr double day = 86400;
  return std::sqrt(2 * cost * day / failures_per_day);
}

}  // namespace sherd::checkpoint
