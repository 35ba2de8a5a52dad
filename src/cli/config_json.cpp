#include "sherd/cli/config_json.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/field_json.hpp"
#include "cli/value.hpp"
#include "sherd/base/suggest.hpp"

namespace sherd::cli {
namespace {

using launch::Choice;
using launch::Field;
using nlohmann::json;
using KeyProblems = std::vector<KeyProblem>;

struct Value {
  const Field& field;
  json operator()(const Choice&) const { return text_of(field); }
  json operator()(const double* value) const {
    return *value == 0 && !field.zero.empty() ? json(field.zero) : json(*value);
  }
  template <class Plain>
  json operator()(const Plain* value) const {
    return *value;
  }
};

/// True when `value` has the right type and was assigned.
struct Take {
  const Field& field;
  const json& value;
  bool operator()(bool* slot) const { return take(slot, value.is_boolean()); }
  bool operator()(int* slot) const {
    std::int64_t wide = 0;
    if (!(*this)(&wide) || wide != static_cast<int>(wide)) return false;
    *slot = static_cast<int>(wide);
    return true;
  }
  bool operator()(std::int64_t* slot) const {
    const bool fits =
        !value.is_number_unsigned() || value.get<std::uint64_t>() <= 0x7fffffffffffffff;
    return take(slot, value.is_number_integer() && fits);
  }
  bool operator()(std::uint64_t* slot) const {
    if (value.is_string() && field.unit == launch::Unit::bytes) return text();
    return take(slot, value.is_number_unsigned());
  }
  bool operator()(double* slot) const {
    return value.is_string() && value == field.zero ? text() : take(slot, value.is_number());
  }
  bool operator()(std::string* slot) const { return take(slot, value.is_string()); }
  bool operator()(std::vector<std::string>* slot) const {
    const auto is_text = [](const json& one) { return one.is_string() && one != ""; };
    return take(slot, value.is_array() && std::all_of(value.begin(), value.end(), is_text));
  }
  bool operator()(const Choice&) const { return value.is_string() && text(); }

 private:
  template <class Value>
  bool take(Value* slot, bool fits) const {
    if (fits) value.get_to(*slot);
    return fits;
  }
  bool text() const { return assign(field, value.get_ref<const std::string&>()).empty(); }
};

std::string problem_of(const Field& field, const json& value) {
  if (std::visit(Take{field, value}, field.slot)) return {};
  if (value.is_string() && std::holds_alternative<Choice>(field.slot))
    return assign(field, value.get_ref<const std::string&>());
  constexpr std::size_t most = 40;
  std::string shown = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (shown.size() > most) shown = shown.substr(0, most) + "...";
  return "got " + shown + ", need " + launch::allowed(field);
}

/// "line 3, column 7" of the byte a parser stopped at (counted from 1).
std::string position(std::string_view text, std::size_t byte) {
  const std::string_view before = text.substr(0, std::min(text.size(), byte > 0 ? byte - 1 : 0));
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const std::size_t start = before.find_last_of('\n');
  const std::size_t column = before.size() - (start == std::string_view::npos ? 0 : start + 1) + 1;
  return "line " + std::to_string(line) + ", column " + std::to_string(column);
}

/// The object in `text`; repeated keys and malformed text become problems.
json parse(std::string_view text, const std::string& prefix, KeyProblems& problems) {
  constexpr int deepest = 8;  // showing a value goes down into it
  std::set<std::string> seen;
  bool too_deep = false;
  const auto note_key = [&](int depth, json::parse_event_t event, json& parsed) {
    too_deep = too_deep || depth > deepest;
    if (too_deep) return false;
    if (depth != 1 || event != json::parse_event_t::key) return true;
    const auto& key = parsed.get_ref<const std::string&>();
    if (!seen.insert(key).second)
      problems.push_back({key, prefix + "\"" + key + "\": given twice"});
    return true;
  };
  try {
    json all = json::parse(text, note_key);
    if (all.is_object() && !too_deep) return all;
    if (too_deep) {
      problems.push_back({"", prefix + "nested deeper than " + std::to_string(deepest)});
      return json::object();
    }
    problems.push_back({"", prefix + "need one JSON object, got " + all.type_name()});
  } catch (const json::parse_error& error) {
    problems.push_back({"", prefix + "malformed JSON at " + position(text, error.byte)});
  } catch (const json::exception& error) {
    problems.push_back({"", prefix + "malformed JSON: a number is out of range"});
  }
  return json::object();
}

}  // namespace

std::string dump_fields(std::span<const Field> fields) {
  json all = json::object();
  for (const Field& field : fields)
    all[std::string(field.key)] = std::visit(Value{field}, field.slot);
  return all.dump(2, ' ', false, json::error_handler_t::replace);
}

std::vector<KeyProblem> read_fields(std::string_view text, std::string_view name,
                                    std::span<const Field> fields) {
  const std::string prefix = std::string(name) + ": ";
  KeyProblems problems;
  const json all = parse(text, prefix, problems);
  std::vector<std::string> keys;
  for (const Field& field : fields) keys.emplace_back(field.key);
  for (const auto& [key, value] : all.items()) {
    const auto found = std::find(keys.begin(), keys.end(), key);
    const std::string start = prefix + "\"" + key + "\": ";
    if (found == keys.end()) {
      problems.push_back({"", start + "unknown key" + did_you_mean(key, keys)});
      continue;
    }
    const std::string problem =
        problem_of(fields[static_cast<std::size_t>(found - keys.begin())], value);
    if (!problem.empty()) problems.push_back({key, start + problem});
  }
  return problems;
}

std::string to_json(const launch::RunConfig& config) {
  launch::RunConfig copy = config;
  return dump_fields(launch::describe(copy));
}

std::vector<std::string> read_json(std::string_view text, std::string_view name,
                                   launch::RunConfig& config) {
  std::vector<std::string> sentences;
  for (KeyProblem& problem : read_fields(text, name, launch::describe(config)))
    sentences.push_back(std::move(problem.sentence));
  return sentences;
}

}  // namespace sherd::cli
