#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "sherd/launch/field.hpp"

namespace sherd::launch {
namespace {

/// An end of a range: whole numbers in full, never as 1e+15.
std::string end_text(double value) {
  const bool whole = std::abs(value) < 1e18 && value == std::floor(value);
  return whole ? std::to_string(static_cast<std::int64_t>(value)) : shortest(value);
}

std::string number_in(const Range& range, std::string_view noun) {
  std::string text(noun);
  const std::string low = end_text(range.low);
  if (!std::isfinite(range.high))
    return range.low_open ? text + " above " + low : text + " of " + low + " or more";
  const std::string high = end_text(range.high);
  if (!range.low_open && !range.high_open) return text + " from " + low + " to " + high;
  text += range.low_open ? " in (" : " in [";
  return text + low + ", " + high + (range.high_open ? ")" : "]");
}

struct Allowed {
  const Field& field;
  std::string operator()(bool*) const { return "true or false"; }
  std::string operator()(int*) const { return number_in(field.range, "an integer"); }
  std::string operator()(std::int64_t*) const { return number_in(field.range, "an integer"); }
  std::string operator()(std::uint64_t*) const {
    if (field.unit != Unit::bytes) return number_in(field.range, "an integer");
    return field.range.low > 0 ? "a size of 1 byte or more, such as 512MiB"
                               : "a size such as 512MiB";
  }
  std::string operator()(double*) const {
    const std::string noun = field.unit == Unit::seconds ? "seconds" : "a number";
    if (field.zero.empty()) return number_in(field.range, noun);
    return std::string(field.zero) + " or " + number_in({.low = 0, .low_open = true}, noun);
  }
  std::string operator()(std::string*) const { return std::string(field.placeholder); }
  std::string operator()(std::vector<std::string>*) const {
    return field.placeholder == "PATH" ? "a list of paths" : "a list of names";
  }
  std::string operator()(const Choice& choice) const {
    std::string all = "one of ";
    for (const std::string_view name : choice.names) {
      if (name != choice.names.front()) all += ", ";
      all += name;
    }
    return all;
  }
};

/// Sizes keep the largest suffix that divides them, so the text reads back to the same number.
std::string size_text(Bytes bytes) {
  constexpr std::pair<Bytes, const char*> units[] = {{gib, "GiB"}, {mib, "MiB"}, {kib, "KiB"}};
  for (const auto& [unit, name] : units)
    if (bytes != 0 && bytes % unit == 0) return std::to_string(bytes / unit) + name;
  return std::to_string(bytes);
}

struct ValueText {
  const Field& field;
  std::string operator()(const bool* value) const { return *value ? "true" : "false"; }
  std::string operator()(const int* value) const { return std::to_string(*value); }
  std::string operator()(const std::int64_t* value) const { return std::to_string(*value); }
  std::string operator()(const std::uint64_t* value) const {
    return field.unit == Unit::bytes ? size_text(*value) : std::to_string(*value);
  }
  std::string operator()(const double* value) const {
    return *value == 0 && !field.zero.empty() ? std::string(field.zero) : shortest(*value);
  }
  std::string operator()(const std::string* value) const { return *value; }
  std::string operator()(const std::vector<std::string>* values) const {
    std::string all;
    for (const std::string& value : *values) all += all.empty() ? value : " " + value;
    return all;
  }
  std::string operator()(const Choice& choice) const {
    return std::string(choice.names[*choice.index]);
  }
};

}  // namespace

std::string flag_of(std::string_view key) {
  std::string flag = "--";
  flag += key;
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

std::string allowed(const Field& field) { return std::visit(Allowed{field}, field.slot); }

std::string text_of(const Field& field) { return std::visit(ValueText{field}, field.slot); }

std::string shortest(double value) {
  std::array<char, 64> text{};
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), value);
  return {text.data(), error == std::errc{} ? end : text.data()};
}

}  // namespace sherd::launch
