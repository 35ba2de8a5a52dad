#pragma once
// Where bytes live and what they are for.
#include <array>
#include <cstdint>
#include <string_view>

namespace sherd::memory {

enum class Tier : std::uint8_t { device, pinned, host, file };
inline constexpr int tiers = 4;
enum class Use : std::uint8_t {
  params,
  grads,
  optimizer,
  activations,
  comm,
  staging,
  control,
  runtime
};
inline constexpr int uses = 8;

[[nodiscard]] constexpr std::string_view name_of(Tier tier) {
  constexpr std::array<std::string_view, tiers> names = {"device", "pinned", "host", "file"};
  return names[static_cast<std::size_t>(tier)];
}
[[nodiscard]] constexpr std::string_view name_of(Use use) {
  constexpr std::array<std::string_view, uses> names = {
      "params", "grads", "optimizer", "activations", "comm", "staging", "control", "runtime"};
  return names[static_cast<std::size_t>(use)];
}

}  // namespace sherd::memory
