#pragma once
// A run's configuration as JSON: one flat object, keys as in docs/config.md.
#include <string>
#include <string_view>
#include <vector>

#include "sherd/launch/run_config.hpp"

namespace sherd::cli {

/// All keys, sorted; read_json of it gives an equal config.
[[nodiscard]] std::string to_json(const launch::RunConfig& config);

/// Assigns every key of `text` to `config` and returns all problems (malformed text with line and
/// column, unknown and repeated keys, wrong types), each starting with `name`.
[[nodiscard]] std::vector<std::string> read_json(std::string_view text, std::string_view name,
                                                 launch::RunConfig& config);

}  // namespace sherd::cli
