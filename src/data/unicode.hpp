#pragma once
// What tokenizers need to know of Unicode.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sherd::data {

/// As `\p{L}`, `\p{N}` and `\s` divide characters; line_end is CR or LF, which are space too.
enum class CharClass : std::uint8_t { other, letter, number, space, line_end };

/// Facts about every code point, in two steps: most blocks of 256 are alike.
class CharTable {
 public:
  struct Facts {
    CharClass kind = CharClass::other;
    std::uint8_t combining = 0;  // canonical combining class
    bool may_change = false;     // by NFC: not allowed in it, or may join what is before
    bool starts_anew = true;     // NFC before it does not depend on it, nor the other way
    bool operator==(const Facts&) const = default;
  };
  [[nodiscard]] static const CharTable& instance();
  [[nodiscard]] const Facts& operator[](std::uint32_t point) const {
    return blocks_[block_of_[point >> 8]][point & 255];
  }

 private:
  CharTable();
  using Block = std::array<Facts, 256>;
  std::array<std::uint16_t, 0x1100> block_of_{};
  std::vector<Block> blocks_;
};

struct Char {
  std::uint32_t point;
  std::uint32_t size;  // bytes
};
/// The character that starts at `text[at]` of valid UTF-8.
[[nodiscard]] inline Char char_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) {
    return std::uint32_t{static_cast<unsigned char>(text[at + i])};
  };
  const std::uint32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xe0) return {(lead & 0x1f) << 6 | (byte(1) & 0x3f), 2};
  if (lead < 0xf0) return {(lead & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f), 3};
  return {(lead & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f),
          4};
}

void append_utf8(std::uint32_t point, std::string& into);

/// `text` as it is where it is valid UTF-8, else a copy in `scratch` with U+FFFD for each longest
/// part of a character that goes no further (what Python's errors="replace" does).
/// **Source** The Unicode Standard, section 3.9, table 3-7 and "U+FFFD Substitution".
[[nodiscard]] std::string_view valid_utf8(std::string_view text, std::string& scratch);

/// The end of the last whole character of `text`: what follows may go on in text to come.
[[nodiscard]] std::size_t whole_characters(std::string_view text);

/// `text` as it is where it is in normal form C, else its normal form in `scratch`.
/// **Source** Unicode Standard Annex 15; the library's version decides about newer characters.
[[nodiscard]] std::string_view normal_form_c(std::string_view text, std::string& scratch);

}  // namespace sherd::data
