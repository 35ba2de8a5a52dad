#include "cli/value.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "sherd/base/suggest.hpp"
#include "sherd/base/units.hpp"

namespace sherd::cli {
namespace {

using launch::Choice;
using launch::Field;
using launch::Unit;

template <class Number>
std::optional<Number> strict_number(std::string_view text) {
  Number value{};
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || rest != end) return std::nullopt;
  if constexpr (std::is_floating_point_v<Number>)
    if (!std::isfinite(value)) return std::nullopt;
  return value;
}

/// True when the slot took the text.
struct Assign {
  const Field& field;
  std::string_view text;

  bool operator()(bool* slot) const {
    if (text != "true" && text != "false") return false;
    *slot = text == "true";
    return true;
  }
  bool operator()(int* slot) const { return number(slot); }
  bool operator()(std::int64_t* slot) const { return number(slot); }
  bool operator()(std::uint64_t* slot) const {
    if (field.unit != Unit::bytes) return number(slot);
    const std::optional<Bytes> bytes = parse_bytes(text);
    if (bytes) *slot = *bytes;
    return bytes.has_value();
  }
  bool operator()(double* slot) const {
    if (field.zero.empty() || text != field.zero) return number(slot);
    *slot = 0;
    return true;
  }
  bool operator()(std::string* slot) const {
    *slot = text;
    return true;
  }
  bool operator()(std::vector<std::string>* slot) const {
    slot->emplace_back(text);
    return !text.empty();
  }
  bool operator()(const Choice& choice) const {
    const auto found = std::find(choice.names.begin(), choice.names.end(), text);
    if (found == choice.names.end()) return false;
    *choice.index = static_cast<unsigned char>(found - choice.names.begin());
    return true;
  }

 private:
  template <class Number>
  bool number(Number* slot) const {
    const std::optional<Number> value = strict_number<Number>(text);
    if (value) *slot = *value;
    return value.has_value();
  }
};

}  // namespace

std::string assign(const Field& field, std::string_view text) {
  if (std::visit(Assign{field, text}, field.slot)) return {};
  std::string problem = "got '" + std::string(text) + "', need " + launch::allowed(field);
  if (const auto* choice = std::get_if<Choice>(&field.slot)) {
    const std::vector<std::string> names(choice->names.begin(), choice->names.end());
    problem += did_you_mean(text, names);
  }
  return problem;
}

std::string placeholder_of(const Field& field) {
  if (!field.placeholder.empty()) return std::string(field.placeholder);
  if (const auto* choice = std::get_if<Choice>(&field.slot)) {
    std::string all;
    for (const std::string_view name : choice->names) (all += all.empty() ? "" : "|") += name;
    return all;
  }
  if (field.unit == Unit::bytes) return "SIZE";
  if (field.unit == Unit::seconds) return "SECONDS";
  if (std::holds_alternative<bool*>(field.slot)) return "";
  return std::holds_alternative<double*>(field.slot) ? "X" : "N";
}

}  // namespace sherd::cli
