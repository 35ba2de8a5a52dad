#include "data/unicode.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "data/unicode_classes.hpp"

namespace sherd::data {
namespace {

using Points = std::vector<std::int32_t>;
constexpr std::uint32_t points_in_all = 0x110000;

void append_decomposed(std::uint32_t point, Points& into) {
  std::array<std::int32_t, 32> room{};  // the longest canonical decomposition has 4
  int boundary = 0;
  const auto count = utf8proc_decompose_char(static_cast<std::int32_t>(point), room.data(),
                                             room.size(), UTF8PROC_DECOMPOSE, &boundary);
  into.insert(into.end(), room.begin(), room.begin() + std::clamp<std::ptrdiff_t>(count, 0, 32));
}

std::uint8_t combining_class(std::int32_t point) {
  return static_cast<std::uint8_t>(utf8proc_get_property(point)->combining_class);
}

/// Decomposes, orders and composes; the library's own ordering takes quadratic time.
void compose(Points& points) {
  for (std::size_t at = 0; at < points.size();) {
    const std::size_t first = at;
    while (at < points.size() && combining_class(points[at]) != 0) ++at;
    std::stable_sort(points.begin() + static_cast<std::ptrdiff_t>(first),
                     points.begin() + static_cast<std::ptrdiff_t>(at),
                     [](auto a, auto b) { return combining_class(a) < combining_class(b); });
    at += at == first ? 1 : 0;
  }
  const auto count =
      utf8proc_normalize_utf32(points.data(), static_cast<utf8proc_ssize_t>(points.size()),
                               static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  points.resize(static_cast<std::size_t>(std::max<utf8proc_ssize_t>(count, 0)));
}

bool is_hangul_syllable(std::uint32_t point) { return point >= 0xac00 && point <= 0xd7a3; }

/// The rules of one character's normal form, and of the last part of what it is made of.
void add_normal_form(std::uint32_t point, std::vector<CharTable::Facts>& facts) {
  Points parts;
  append_decomposed(point, parts);
  if (parts.empty() || (parts.size() == 1 && parts[0] == static_cast<std::int32_t>(point))) return;
  facts[point].starts_anew = combining_class(parts[0]) == 0;
  const std::int32_t last = parts.back();
  const bool made_of_more = parts.size() > 1;
  compose(parts);
  if (parts.size() != 1 || parts[0] != static_cast<std::int32_t>(point)) {
    facts[point].may_change = true;
  } else if (made_of_more) {
    facts[static_cast<std::size_t>(last)].may_change = true;
    facts[static_cast<std::size_t>(last)].starts_anew = false;
  }
}

std::vector<CharTable::Facts> all_facts() {
  std::vector<CharTable::Facts> facts(points_in_all);
  const auto mark = [&](const auto& ranges, CharClass kind) {
    for (const CodeRange& range : ranges)
      for (std::uint32_t point = range.first; point <= range.last; ++point)
        facts[point].kind = kind;
  };
  mark(letter_ranges, CharClass::letter);
  mark(number_ranges, CharClass::number);
  mark(space_ranges, CharClass::space);
  facts['\r'].kind = facts['\n'].kind = CharClass::line_end;
  for (std::uint32_t point = 0; point < points_in_all; ++point) {
    const auto* property = utf8proc_get_property(static_cast<std::int32_t>(point));
    facts[point].combining = static_cast<std::uint8_t>(property->combining_class);
    if (property->combining_class != 0) facts[point].starts_anew = false;
  }
  for (std::uint32_t point = 0; point < points_in_all; ++point) {
    const auto* property = utf8proc_get_property(static_cast<std::int32_t>(point));
    const bool canonical = property->decomp_type == 0 && property->decomp_seqindex != UINT16_MAX;
    if (canonical && !is_hangul_syllable(point)) add_normal_form(point, facts);
  }
  const auto joins = [&](std::uint32_t first, std::uint32_t last) {  // vowels and ends of Hangul
    for (std::uint32_t point = first; point <= last; ++point) {
      facts[point].may_change = true;
      facts[point].starts_anew = false;
    }
  };
  joins(0x1161, 0x1175);
  joins(0x11a8, 0x11c2);
  return facts;
}

/// Bytes of the well-formed start of a character at `at`, and whether it is a whole one.
std::pair<std::size_t, bool> well_formed(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {1, true};
  if (lead < 0xc2 || lead > 0xf4) return {1, false};
  const std::size_t size = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  const unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  const std::size_t room = std::min(size, text.size() - at);
  if (room < 2 || byte(1) < low || byte(1) > high) return {1, false};
  for (std::size_t i = 2; i < room; ++i)
    if ((byte(i) & 0xc0) != 0x80) return {i, false};
  return {room, room == size};
}

std::size_t valid_until(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const auto [size, whole] = well_formed(text, at);
    if (!whole) break;
    at += size;
  }
  return at;
}

struct Unsettled {
  std::size_t begin, end;  // bytes that must be composed together
};

/// The first part of `text` from `at` on that may not be in normal form.
std::optional<Unsettled> next_unsettled(std::string_view text, std::size_t at) {
  const CharTable& table = CharTable::instance();
  std::size_t anew = at;  // the last place that nothing after it reaches across
  std::uint8_t before = 0;
  while (at < text.size()) {
    const auto [point, size] = char_at(text, at);
    if (point < 0x300) {  // neither combines nor changes
      anew = at;
      at += size;
      before = 0;
      continue;
    }
    const CharTable::Facts& facts = table[point];
    if (facts.starts_anew) anew = at;
    if (facts.may_change || (facts.combining != 0 && facts.combining < before)) {
      for (at += size; at < text.size(); at += char_at(text, at).size)
        if (table[char_at(text, at).point].starts_anew) break;
      return Unsettled{anew, at};
    }
    before = facts.combining;
    at += size;
  }
  return std::nullopt;
}

}  // namespace

const CharTable& CharTable::instance() {
  static const CharTable table;
  return table;
}

CharTable::CharTable() {
  const std::vector<Facts> facts = all_facts();
  for (std::size_t i = 0; i < block_of_.size(); ++i) {
    Block block;
    std::copy_n(facts.begin() + static_cast<std::ptrdiff_t>(i * 256), 256, block.begin());
    const auto same = std::find(blocks_.begin(), blocks_.end(), block);
    block_of_[i] = static_cast<std::uint16_t>(same - blocks_.begin());
    if (same == blocks_.end()) blocks_.push_back(block);
  }
}

void append_utf8(std::uint32_t point, std::string& into) {
  std::array<utf8proc_uint8_t, 4> bytes{};
  const auto size = utf8proc_encode_char(static_cast<std::int32_t>(point), bytes.data());
  for (utf8proc_ssize_t i = 0; i < size; ++i)
    into.push_back(static_cast<char>(bytes[static_cast<std::size_t>(i)]));
}

std::string_view valid_utf8(std::string_view text, std::string& scratch) {
  std::size_t good = valid_until(text, 0);
  if (good == text.size()) return text;
  scratch.clear();
  for (std::size_t at = 0;;) {
    scratch.append(text, at, good - at);
    if (good == text.size()) return scratch;
    scratch += "\xef\xbf\xbd";
    at = good + well_formed(text, good).first;
    good = valid_until(text, at);
  }
}

std::size_t whole_characters(std::string_view text) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.size()); ++back) {
    const std::size_t at = text.size() - back;
    const auto byte = static_cast<unsigned char>(text[at]);
    if ((byte & 0xc0) == 0x80) continue;
    const auto [size, whole] = well_formed(text, at);
    return !whole && byte >= 0xc2 && byte <= 0xf4 && size == back ? at : text.size();
  }
  return text.size();
}

std::string_view normal_form_c(std::string_view text, std::string& scratch) {
  std::optional<Unsettled> part = next_unsettled(text, 0);
  if (!part) return text;
  scratch.clear();
  Points points;
  std::size_t at = 0;
  for (; part; part = next_unsettled(text, at)) {
    scratch.append(text, at, part->begin - at);
    points.clear();
    for (std::size_t i = part->begin; i < part->end;) {
      const auto [point, size] = char_at(text, i);
      append_decomposed(point, points);
      i += size;
    }
    compose(points);
    for (const std::int32_t point : points) append_utf8(static_cast<std::uint32_t>(point), scratch);
    at = part->end;
  }
  return scratch.append(text, at);
}

}  // namespace sherd::data
