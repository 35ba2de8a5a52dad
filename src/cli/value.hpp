#pragma once
// The value of a field as text, both ways.
#include <string>
#include <string_view>

#include "sherd/launch/field.hpp"

namespace sherd::cli {

/// Reads all of `text` into the field (a list gets one more element). Returns what is wrong with it
/// ("got '1.5', need an integer from 0 to 3"), nothing when it was assigned; ranges are check()'s.
[[nodiscard]] std::string assign(const launch::Field& field, std::string_view text);

/// What help calls the value: "N", "SIZE", "{fp32,bf16}".
[[nodiscard]] std::string placeholder_of(const launch::Field& field);

}  // namespace sherd::cli
