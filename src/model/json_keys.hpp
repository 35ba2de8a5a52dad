#pragma once
// Typed values out of a JSON object that may hold anything.
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "sherd/io/file.hpp"

namespace sherd::model {

[[nodiscard]] inline std::string shown(const nlohmann::json& value) {
  return io::printable(value.dump(-1, ' ', true));
}

/// Takes typed values out of an object and remembers what was wrong.
class JsonKeys {
 public:
  using json = nlohmann::json;

  /// `within`: what problems call the object ("rope_scaling."), or nothing.
  explicit JsonKeys(const json& object, std::string within = {})
      : object_(object), within_(std::move(within)) {}

  /// Null is as good as absent.
  [[nodiscard]] const json* find(const char* key) const {
    const auto at = object_.find(key);
    return at == object_.end() || at->is_null() ? nullptr : &*at;
  }
  [[nodiscard]] bool says_null(const char* key) const {
    const auto at = object_.find(key);
    return at != object_.end() && at->is_null();
  }
  std::optional<std::int64_t> count(const char* key) {
    const json* value = find(key);
    if (value == nullptr) return {};
    if (value->is_number_integer() && *value >= 1 && *value <= std::int64_t{1} << 40)
      return value->get<std::int64_t>();
    problem(key, *value, "a positive number");
    return 1;  // reported; keeps later checks quiet
  }
  std::int64_t needed(const char* key) {
    if (find(key) == nullptr) missing(key);
    return count(key).value_or(1);
  }
  std::optional<double> number(const char* key) {
    const json* value = find(key);
    if (value == nullptr) return {};
    if (value->is_number() && *value > 0.0 && *value <= 1e18) return value->get<double>();
    problem(key, *value, "a number above 0");
    return 1;
  }
  double needed_number(const char* key) {
    if (find(key) == nullptr) missing(key);
    return number(key).value_or(1);
  }
  /// A number between 0 and 1, both excluded, as fp32 holds it.
  float fraction(const char* key, float otherwise) {
    const json* value = find(key);
    if (value == nullptr) return otherwise;
    if (value->is_number() && *value > 0.0 && *value < 1.0) {
      const auto found = value->get<float>();
      if (found > 0 && found < 1) return found;
    }
    problem(key, *value, "more than 0 and less than 1");
    return otherwise;
  }
  bool flag(const char* key, bool otherwise) {
    const json* value = find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_boolean()) problem(key, *value, "true or false");
    return value->is_boolean() ? value->get<bool>() : otherwise;
  }
  /// A key that, where it is given, must be one of `allowed`.
  void only(const char* key, std::initializer_list<json> allowed) {
    const json* value = find(key);
    if (value == nullptr) return;
    for (const json& one : allowed)
      if (*value == one) return;
    problem(key, *value, shown(*allowed.begin()));
  }
  void missing(const char* key) { problems.push_back(within_ + key + " is missing"); }
  void problem(const std::string& key, const json& got, const std::string& need) {
    problems.push_back(within_ + key + ": got " + shown(got) + ", need " + need);
  }

  std::vector<std::string> problems;

 private:
  const json& object_;
  std::string within_;
};

}  // namespace sherd::model
