#include "sherd/base/units.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace sherd {

std::optional<Bytes> parse_bytes(std::string_view text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || !std::isfinite(value) || std::signbit(value)) return std::nullopt;
  std::string_view suffix(rest, static_cast<std::size_t>(end - rest));
  while (!suffix.empty() && suffix.front() == ' ') suffix.remove_prefix(1);
  double unit = 1;
  if (!suffix.empty()) {
    constexpr std::string_view letters = "KMGT";
    const auto letter =
        static_cast<char>(suffix.front() >= 'a' ? suffix.front() - 32 : suffix.front());
    const auto power = letters.find(letter);
    const std::string_view tail = suffix.substr(1);
    if (power == std::string_view::npos) {
      if (suffix != "B" && suffix != "b") return std::nullopt;
    } else {
      if (tail != "" && tail != "iB" && tail != "B" && tail != "ib" && tail != "b")
        return std::nullopt;
      unit = std::pow(1024.0, static_cast<double>(power + 1));
    }
  }
  const double bytes = value * unit;
  if (bytes >= 0x1p63 || bytes != std::floor(bytes)) return std::nullopt;
  if (unit == 1) {  // plain integers stay exact above 2^53
    Bytes whole = 0;
    const auto [stop, bad] = std::from_chars(text.data(), end, whole);
    if (bad == std::errc{} && stop == rest) return whole;
  }
  return static_cast<Bytes>(bytes);
}

std::string format_bytes(Bytes bytes) {
  constexpr std::array<const char*, 5> names = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  // Two decimals would print 1023.995 and more as 1024.00 of the smaller unit.
  while (value >= (unit == 0 ? 1024 : 1023.995) && unit + 1 < names.size()) {
    value /= 1024;
    ++unit;
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), unit == 0 ? "%.0f %s" : "%.2f %s", value, names[unit]);
  return text.data();
}

}  // namespace sherd
