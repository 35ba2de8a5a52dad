#include "sherd/base/log.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <string>

namespace sherd::log {
namespace {

spdlog::logger& logger() {
  static const auto instance = [] {
    auto made = std::make_shared<spdlog::logger>("sherd",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("sherd: %v");
    return made;
  }();
  return *instance;
}

}  // namespace

void set_prefix(std::string_view prefix) {
  std::string pattern = "sherd: ";
  for (const char c : prefix) pattern += c == '%' ? std::string("%%") : std::string(1, c);
  logger().set_pattern(pattern + (prefix.empty() ? "%v" : ": %v"));
}

void set_quiet(bool only_warnings) {
  logger().set_level(only_warnings ? spdlog::level::warn : spdlog::level::info);
}

void write(Level level, std::string_view message) {
  constexpr spdlog::level::level_enum levels[] = {spdlog::level::info, spdlog::level::warn,
                                                  spdlog::level::err};
  logger().log(levels[static_cast<std::size_t>(level)],
               spdlog::string_view_t(message.data(), message.size()));
}

}  // namespace sherd::log
