#pragma once
// A network of the zoo out of the text that says all about it, which checkpoints keep.
#include <string>

#include "sherd/model/presets.hpp"

namespace sherd::model {

/// The architecture whose `build` has this description; `where` stands for the text in messages.
///
/// **Errors** DataError: a network of somebody's own, and every number that is missing or out of
/// range.
[[nodiscard]] Architecture parse_description(const std::string& where, const std::string& text);

}  // namespace sherd::model
