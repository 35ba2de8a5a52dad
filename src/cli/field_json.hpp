#pragma once
// Some fields of a config as one flat JSON object.
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sherd/launch/field.hpp"

namespace sherd::cli {

struct KeyProblem {
  std::string key;  // of the field it is about; empty when it is about none
  std::string sentence;
};

[[nodiscard]] std::string dump_fields(std::span<const launch::Field> fields);

/// Assigns every key of the object in `text`; each problem starts with `name`.
[[nodiscard]] std::vector<KeyProblem> read_fields(std::string_view text, std::string_view name,
                                                  std::span<const launch::Field> fields);

}  // namespace sherd::cli
