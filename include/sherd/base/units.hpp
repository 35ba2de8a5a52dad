#pragma once
// Sizes and ranks.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sherd {

using Bytes = std::uint64_t;
using Rank = int;

inline constexpr Bytes kib = 1024, mib = 1024 * kib, gib = 1024 * mib;

/// "512MiB", "2GiB", "4096": binary suffixes KiB, MiB, GiB, TiB (also K, M, G, T and KB, …, all
/// powers of 1024). Nothing if malformed, negative, no whole number of bytes, or 2^63 and more.
[[nodiscard]] std::optional<Bytes> parse_bytes(std::string_view text);

/// Shortest exact-to-two-decimals form: "733.30 MiB", "1.00 KiB", "12 B".
[[nodiscard]] std::string format_bytes(Bytes bytes);

[[nodiscard]] constexpr std::uint64_t ceil_div(std::uint64_t value, std::uint64_t unit) {
  return (value + unit - 1) / unit;
}
[[nodiscard]] constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
  return ceil_div(value, unit) * unit;
}

}  // namespace sherd
