#pragma once
// One measured number beside the bound it is held against.
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "sherd/bench/timing.hpp"

namespace sherd::bench {

/// `held`: bytes that stay; the rate of making them says little, so the table shows the bytes.
enum class Work : std::uint8_t { bytes, flops, held };
using Extra = std::pair<std::string, std::variant<std::int64_t, double, std::string>>;

/// `work` is what one pass must at least move or compute; `bound` is the same unit a second,
/// measured in the same rounds (0: there is none).
struct Row {
  std::string name;
  Timing time;
  Work unit = Work::bytes;
  double work = 0;
  std::string bound_name;
  double bound = 0;
  std::int64_t wrong = 0;    // results that differ from the reference by more than their rounding
  std::vector<Extra> extra;  // what else identifies or describes the row, in this order

  [[nodiscard]] double per_second() const { return time.median > 0 ? work / time.median : 0; }
  /// 1 is the bound; noise and a bound that is not tight can exceed it.
  [[nodiscard]] double of_bound() const { return bound > 0 ? per_second() / bound : 0; }
};

/// One line without its end: the keys of `sherd bench --json`.
[[nodiscard]] std::string to_json(const Row& row);

/// A table for people, one line a row, columns aligned.
[[nodiscard]] std::string table(std::span<const Row> rows);

}  // namespace sherd::bench
