#include "sherd/bench/row.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

namespace sherd::bench {
namespace {

std::string duration(double seconds) {
  if (seconds >= 1) return fmt::format("{:.3f} s", seconds);
  if (seconds >= 1e-3) return fmt::format("{:.3f} ms", seconds * 1e3);
  return fmt::format("{:.2f} us", seconds * 1e6);
}

std::string rate(double per_second, Work unit) {
  return fmt::format("{:.1f} {}", per_second / 1e9, unit == Work::bytes ? "GB/s" : "GFLOP/s");
}

// What the table says of a rate: the rate, or for held bytes the bytes themselves.
std::string quantity(const Row& row, double per_second) {
  if (row.unit != Work::held) return rate(per_second, row.unit);
  return fmt::format("{:.1f} MB", per_second * row.time.median / 1e6);
}

std::string described(const std::vector<Extra>& extra) {
  std::string text;
  for (const auto& [key, value] : extra) {
    if (!text.empty()) text += ' ';
    std::visit(
        [&, name = key](const auto& v) {
          if constexpr (std::is_same_v<std::decay_t<decltype(v)>, double>) {
            text += fmt::format("{}={:.4g}", name, v);
          } else {
            text += fmt::format("{}={}", name, v);
          }
        },
        value);
  }
  return text;
}

constexpr std::size_t columns = 8;
using Cells = std::array<std::string, columns>;

Cells cells(const Row& row) {
  const bool bounded = row.bound > 0;
  return {row.name,
          described(row.extra),
          duration(row.time.median),
          fmt::format("{:.0f}%", row.time.spread() * 100),
          quantity(row, row.per_second()),
          bounded ? fmt::format("{} ({})", quantity(row, row.bound), row.bound_name) : "-",
          bounded ? fmt::format("{:.0f}%", row.of_bound() * 100) : "-",
          fmt::format("{}", row.wrong)};
}

}  // namespace

std::string to_json(const Row& row) {
  const std::string key = row.unit == Work::flops ? "flop_per_s" : "gb_per_s";
  const double unit = row.unit == Work::flops ? 1 : 1e9;
  nlohmann::ordered_json line;
  line["name"] = row.name;
  line["seconds"] = row.time.median;
  line["spread"] = row.time.spread();
  line["rounds"] = row.time.rounds;
  line[key] = row.per_second() / unit;
  if (row.bound > 0) {
    line["bound"] = row.bound_name;
    line["bound_" + key] = row.bound / unit;
    line["of_bound"] = row.of_bound();
  }
  line["wrong"] = row.wrong;
  for (const auto& [name, value] : row.extra) {
    std::visit([&, name = name](const auto& v) { line[name] = v; }, value);
  }
  return line.dump();
}

std::string table(std::span<const Row> rows) {
  std::vector<Cells> lines = {
      {"row", "what", "median", "spread", "rate", "bound", "of bound", "wrong"}};
  for (const Row& row : rows) lines.push_back(cells(row));
  std::array<std::size_t, columns> width{};
  for (const Cells& line : lines) {
    for (std::size_t i = 0; i < columns; ++i) width[i] = std::max(width[i], line[i].size());
  }
  std::string text;
  for (const Cells& line : lines) {
    std::string one;
    for (std::size_t i = 0; i < columns; ++i) {
      const bool words = i < 2;
      one += words ? fmt::format("{:<{}}  ", line[i], width[i])
                   : fmt::format("{:>{}}  ", line[i], width[i]);
    }
    text += one.substr(0, one.find_last_not_of(' ') + 1) + '\n';
  }
  return text;
}

}  // namespace sherd::bench
