#pragma once
// JSON from files that may be hostile.
#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "sherd/io/file.hpp"

namespace sherd::io {

struct JsonLimits {
  Bytes bytes = 64 * mib;        // of the file
  std::size_t values = 1 << 20;  // in all
  int depth = 32;                // of nesting
};

/// Parses strictly: duplicate keys, deep nesting and too many values are refused.
///
/// **Errors** DataError naming `path`, with the message's position counted from `file_offset` on.
[[nodiscard]] nlohmann::json parse_json(const std::string& path, Bytes file_offset,
                                        std::string_view text, const JsonLimits& limits = {});
/// The same for a whole file.
[[nodiscard]] nlohmann::json read_json(const File& file, const JsonLimits& limits = {});

}  // namespace sherd::io
