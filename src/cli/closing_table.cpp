#include "sherd/cli/closing_table.hpp"

#include <array>
#include <cstdio>

namespace sherd::cli {
namespace {

std::string row(std::string_view tier, std::string_view use,
                const std::array<std::string, 3>& cells) {
  std::array<char, 128> text{};
  std::snprintf(text.data(), text.size(), "%-8.*s%-12.*s%14s%14s%14s\n",
                static_cast<int>(tier.size()), tier.data(), static_cast<int>(use.size()),
                use.data(), cells[0].c_str(), cells[1].c_str(), cells[2].c_str());
  return text.data();
}

}  // namespace

std::string closing_table(const ClosingTable& table) {
  const std::string own = "stage " + std::to_string(table.zero_stage);
  std::string text = "memory per rank, " + own + "\n";
  text += row("tier", "use", {"planned", "measured", table.beside});
  for (const TierColumn& tier : tier_columns) {
    for (const BytesColumn& column : bytes_columns) {
      const Bytes planned = table.planned.*tier.member.*column.member;
      const Bytes measured = table.measured.*tier.member.*column.member;
      const Bytes stage0 = table.stage0.*tier.member.*column.member;
      if (planned == 0 && measured == 0 && stage0 == 0) continue;
      text += row(tier.name, column.name,
                  {format_bytes(planned), format_bytes(measured), format_bytes(stage0)});
    }
  }
  return text;
}

}  // namespace sherd::cli
