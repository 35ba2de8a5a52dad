#include "data/words.hpp"

#include <array>

#include "data/unicode.hpp"

namespace sherd::data {
namespace {

constexpr std::string_view gpt2_expression =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view llama3_expression =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view qwen_expression =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr std::array<CharClass, 128> ascii_classes = [] {
  std::array<CharClass, 128> classes{};
  for (std::size_t c = 0; c < 128; ++c) {
    if ((c | 32) >= 'a' && (c | 32) <= 'z') classes[c] = CharClass::letter;
    if (c >= '0' && c <= '9') classes[c] = CharClass::number;
    if (c == ' ' || (c >= 9 && c <= 13)) classes[c] = CharClass::space;
    if (c == '\r' || c == '\n') classes[c] = CharClass::line_end;
  }
  return classes;
}();

bool is_space(CharClass kind) { return kind == CharClass::space || kind == CharClass::line_end; }

/// Walks one text; `end` is what a match that stops there returns.
struct Scan {
  std::string_view text;
  const CharTable& table = CharTable::instance();

  struct Seen {
    CharClass kind;
    std::uint32_t size;
  };
  [[nodiscard]] Seen see(std::size_t at) const {
    const auto lead = static_cast<unsigned char>(text[at]);
    if (lead < 128) return {ascii_classes[lead], 1};
    const auto [point, size] = char_at(text, at);
    return {table[point].kind, size};
  }
  [[nodiscard]] bool is(CharClass kind, std::size_t at) const {
    return at < text.size() && see(at).kind == kind;
  }
  /// The end of the characters of `kind` from `at` on, at most `most` of them.
  [[nodiscard]] std::size_t run(CharClass kind, std::size_t at, std::size_t most = SIZE_MAX) const {
    while (at < text.size() && most-- > 0) {
      const Seen seen = see(at);
      if (seen.kind != kind) break;
      at += seen.size;
    }
    return at;
  }
};

/// `'s|'t|'re|'ve|'m|'ll|'d` behind an apostrophe; the start if there is none.
std::size_t contraction(std::string_view text, std::size_t at, bool any_case) {
  const std::string_view rest = text.substr(at + 1);
  const auto letter = [&](std::size_t i) {
    const char c = i < rest.size() ? rest[i] : '\0';
    return any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  };
  const char first = letter(0), second = letter(1);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return at + 2;
  if ((first == 'r' || first == 'v') && second == 'e') return at + 3;
  if (first == 'l' && second == 'l') return at + 3;
  if (any_case && rest.starts_with("\xc5\xbf")) return at + 3;  // U+017F, an s without case
  return at;
}

/// `\s+(?!\S)|\s+` from a space on: all of it but the last where something follows.
std::size_t spaces(const Scan& scan, std::size_t at) {
  std::size_t last = at;
  for (std::size_t next = at; next < scan.text.size();) {
    const Scan::Seen seen = scan.see(next);
    if (!is_space(seen.kind)) return last > at ? last : next;
    last = next;
    next += seen.size;
  }
  return scan.text.size();
}

/// `\s*[\r\n]+` from a space on; the start if no line ends in it.
std::size_t lines_end(const Scan& scan, std::size_t at) {
  std::size_t end = at;
  for (std::size_t next = at; next < scan.text.size();) {
    const Scan::Seen seen = scan.see(next);
    if (!is_space(seen.kind)) break;
    next += seen.size;
    if (seen.kind == CharClass::line_end) end = next;
  }
  return end;
}

std::size_t gpt2_end(const Scan& scan, std::size_t at) {
  if (scan.text[at] == '\'') {
    const std::size_t end = contraction(scan.text, at, false);
    if (end > at) return end;
  }
  const std::size_t first = scan.text[at] == ' ' && at + 1 < scan.text.size() ? at + 1 : at;
  const Scan::Seen seen = scan.see(first);
  if (is_space(seen.kind)) return spaces(scan, at);
  return scan.run(seen.kind, first + seen.size);
}

std::size_t cased_end(const Scan& scan, std::size_t at, std::size_t digits) {
  if (scan.text[at] == '\'') {
    const std::size_t end = contraction(scan.text, at, true);
    if (end > at) return end;
  }
  const Scan::Seen seen = scan.see(at);
  const std::size_t next = at + seen.size;
  if (seen.kind == CharClass::letter) return scan.run(CharClass::letter, next);
  if (seen.kind == CharClass::number) return scan.run(CharClass::number, next, digits - 1);
  if (seen.kind != CharClass::line_end && scan.is(CharClass::letter, next))
    return scan.run(CharClass::letter, next);
  if (seen.kind == CharClass::other || (scan.text[at] == ' ' && scan.is(CharClass::other, next)))
    return scan.run(CharClass::line_end, scan.run(CharClass::other, next));
  const std::size_t end = lines_end(scan, at);
  return end > at ? end : spaces(scan, at);
}

}  // namespace

std::optional<WordRule> word_rule_of(std::string_view expression) {
  if (expression == gpt2_expression) return WordRule::gpt2;
  if (expression == llama3_expression) return WordRule::llama3;
  if (expression == qwen_expression) return WordRule::qwen;
  return std::nullopt;
}

std::size_t word_end(WordRule rule, std::string_view text, std::size_t at) {
  const Scan scan{text};
  if (rule == WordRule::gpt2) return gpt2_end(scan, at);
  return cased_end(scan, at, rule == WordRule::llama3 ? 3 : 1);
}

}  // namespace sherd::data
