#pragma once
// Diagnostics for people, on stderr; results and events have their own writers.
#include <string_view>

namespace sherd::log {

enum class Level { info, warning, error };

/// Prefix such as "rank 3" on every later line of this process; nothing by default.
void set_prefix(std::string_view prefix);
void set_quiet(bool only_warnings);

void write(Level level, std::string_view message);
inline void info(std::string_view message) { write(Level::info, message); }
inline void warn(std::string_view message) { write(Level::warning, message); }
inline void error(std::string_view message) { write(Level::error, message); }

}  // namespace sherd::log
