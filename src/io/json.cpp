#include "sherd/io/json.hpp"

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "sherd/base/errors.hpp"

namespace sherd::io {
namespace {

using nlohmann::json;

/// Sees every parse event; throws before a hostile text can make the tree large.
class Guard {
 public:
  Guard(const std::string& path, const JsonLimits& limits) : path_(path), limits_(limits) {}

  void see(int depth, json::parse_event_t event, const json& parsed) {
    if (depth > limits_.depth) refuse("is nested deeper than " + std::to_string(limits_.depth));
    if (++values_ > limits_.values) {
      refuse("has more than " + std::to_string(limits_.values) + " JSON values");
    }
    if (event == json::parse_event_t::object_start) keys_.emplace_back();
    if (event == json::parse_event_t::object_end) keys_.pop_back();
    if (event == json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!keys_.back().insert(key).second) refuse("has the key '" + printable(key) + "' twice");
    }
  }

 private:
  [[noreturn]] void refuse(const std::string& problem) const {
    throw DataError(path_ + ": " + problem);
  }
  const std::string& path_;
  const JsonLimits& limits_;
  std::size_t values_ = 0;
  std::vector<std::set<std::string>> keys_;
};

}  // namespace

json parse_json(const std::string& path, Bytes file_offset, std::string_view text,
                const JsonLimits& limits) {
  Guard guard(path, limits);
  try {
    return json::parse(text.begin(), text.end(),
                       [&](int depth, json::parse_event_t event, json& parsed) {
                         guard.see(depth, event, parsed);
                         return true;
                       });
  } catch (const json::parse_error& error) {
    throw DataError(path + ": is not valid JSON at byte " +
                    std::to_string(file_offset + (error.byte > 0 ? error.byte - 1 : 0)));
  } catch (const json::exception& error) {
    throw DataError(path + ": has JSON that cannot be used (" + printable(error.what()) + ")");
  }
}

json read_json(const File& file, const JsonLimits& limits) {
  return parse_json(file.path(), 0, read_text(file, limits.bytes), limits);
}

}  // namespace sherd::io
