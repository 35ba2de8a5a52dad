#pragma once
// One description of every field of a RunConfig: its flag, JSON key, help, docs and range all come
// from here.
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "sherd/launch/run_config.hpp"

namespace sherd::launch {

/// What a field is about: the headings of `--help` and docs/config.md, in their order.
enum class Concern : std::uint8_t {
  model,
  data,
  batch,
  ranks,
  sharding,
  precision,
  optimizer,
  memory,
  checkpoint,
  output
};
inline constexpr std::string_view concern_names[] = {
    "model",     "data",      "batch",  "ranks",      "sharding",
    "precision", "optimizer", "memory", "checkpoint", "output"};

/// An enumerator by its position in `names` (every config enum is an unsigned char underneath).
struct Choice {
  unsigned char* index;
  std::span<const std::string_view> names;
};

/// Where the value of a field lives.
using Slot = std::variant<bool*, int*, std::int64_t*, std::uint64_t*, double*, std::string*,
                          std::vector<std::string>*, Choice>;

enum class Unit : std::uint8_t { plain, bytes, seconds };

/// What a number may be; an open end is excluded itself.
struct Range {
  double low = 0;
  double high = std::numeric_limits<double>::infinity();
  bool low_open = false, high_open = false;
};

struct Field {
  Concern concern;
  std::string_view key;  // JSON key and C++ member; the flag has dashes for underscores
  std::string_view help;
  Slot slot;
  Range range = {};
  Unit unit = Unit::plain;
  std::string_view placeholder = {};  // what help calls the value; empty: by its type
  std::string_view zero = {};         // word that stands for 0, where 0 alone would mislead
};

/// Every field of `config`, in the order of help.
///
/// **Memory** the fields point into `config`, which must outlive them.
[[nodiscard]] std::vector<Field> describe(RunConfig& config);

/// "zero_stage" -> "--zero-stage".
[[nodiscard]] std::string flag_of(std::string_view key);

/// What a value of `field` must be, as the end of a sentence: "an integer from 0 to 3".
[[nodiscard]] std::string allowed(const Field& field);

/// The value as a flag takes it; sizes keep the largest suffix that divides them.
[[nodiscard]] std::string text_of(const Field& field);

/// Shortest decimal form that reads back to the same double.
[[nodiscard]] std::string shortest(double value);

}  // namespace sherd::launch
