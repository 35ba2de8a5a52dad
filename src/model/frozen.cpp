#include "sherd/model/frozen.hpp"

#include <fnmatch.h>

#include <algorithm>
#include <utility>

namespace sherd::model {

std::function<bool(std::string_view)> frozen_by(std::vector<std::string> patterns) {
  if (patterns.empty()) return {};
  return [patterns = std::move(patterns)](std::string_view name) {
    const std::string text(name);
    return std::ranges::any_of(patterns, [&](const std::string& pattern) {
      return ::fnmatch(pattern.c_str(), text.c_str(), 0) == 0;
    });
  };
}

}  // namespace sherd::model
