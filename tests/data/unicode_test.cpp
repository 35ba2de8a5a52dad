#include "data/unicode.hpp"

#include <doctest/doctest.h>

#include <string>

namespace sherd::data {
namespace {

std::string repaired(std::string_view text) {
  std::string scratch;
  return std::string(valid_utf8(text, scratch));
}

std::string normal(std::string_view text) {
  std::string scratch;
  return std::string(normal_form_c(text, scratch));
}

TEST_CASE("Every character survives its bytes, and surrogates and what is above do not") {
  int wrong = 0;
  for (std::uint32_t point = 0; point < 0x110000; ++point) {
    std::string text;
    append_utf8(point, text);
    if (point >= 0xd800 && point < 0xe000) continue;
    const Char found = char_at(text, 0);
    wrong += repaired(text) != text || found.point != point || found.size != text.size() ? 1 : 0;
  }
  CHECK(wrong == 0);
  CHECK(repaired("\xed\xa0\x80") == "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
  CHECK(repaired("\xf4\x90\x80\x80") == "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
}

TEST_CASE("Damaged text follows the standard's own example") {
  // The Unicode Standard, table 3-8: 61 F1 80 80 E1 80 C2 62 80 63 80 BF 64.
  CHECK(repaired("\x61\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63\x80\xbf\x64") ==
        "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
        "b\xef\xbf\xbd"
        "c\xef\xbf\xbd\xef\xbf\xbd"
        "d");
}

TEST_CASE("The end of whole characters is before one that may go on") {
  CHECK(whole_characters("") == 0);
  CHECK(whole_characters("ab") == 2);
  CHECK(whole_characters("a\xe6\x97\xa5") == 4);
  CHECK(whole_characters("a\xe6\x97") == 1);
  CHECK(whole_characters("a\xf0\x9f\x99") == 1);
  CHECK(whole_characters("a\xf0") == 1);
  CHECK(whole_characters("a\xff") == 2);
  CHECK(whole_characters("a\x80\x80\x80\x80") == 5);
  CHECK(whole_characters("\xe0\x80") == 2);
}

TEST_CASE("Normal forms are those of the standard's examples") {
  CHECK(normal("plain, na\xc3\xafve") == "plain, na\xc3\xafve");
  CHECK(normal("e\xcc\x81") == "\xc3\xa9");                                 // e + acute
  CHECK(normal("\xe2\x84\xab") == "\xc3\x85");                              // angstrom sign
  CHECK(normal("\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8") == "\xea\xb0\x81");  // Hangul
  // s, dot below, dot above, in either order (Standard Annex 15, figure 5).
  CHECK(normal("s\xcc\xa3\xcc\x87") == "\xe1\xb9\xa9");
  CHECK(normal("s\xcc\x87\xcc\xa3") == "\xe1\xb9\xa9");
  CHECK(normal("q\xcc\x87\xcc\xa3") == "q\xcc\xa3\xcc\x87");
}

TEST_CASE("Long runs of marks are ordered without taking long") {
  std::string marks = "a", want = "a";
  for (int i = 0; i < 200000; ++i) marks += i % 2 == 0 ? "\xcc\x95" : "\xcc\x9b";  // 232, 216
  std::string scratch;
  const std::string_view ordered = normal_form_c(marks, scratch);
  CHECK(ordered.size() == marks.size());
  CHECK(ordered.substr(1, 2) == "\xcc\x9b");
  CHECK(ordered.substr(ordered.size() - 2) == "\xcc\x95");
}

TEST_CASE("Normal form is reached at once, wherever text starts to need it") {
  const std::string parts[] = {"x",
                               "\xc3\xa9",
                               "\xcc\x81",
                               "\xcc\xa7",
                               "\xe1\x85\xa1",
                               "\xe1\x84\x80",
                               "\xe2\x84\xab",
                               "\xea\xb0\x80",
                               "\xe1\x86\xa8",
                               "\xe0\xbd\xb3"};
  for (std::size_t code = 0; code < 100000; code += 3) {
    std::string text;
    for (std::size_t left = code; left > 0; left /= 10) text += parts[left % 10];
    const std::string once = normal(text);
    REQUIRE(normal(once) == once);
    REQUIRE(normal("\n" + text + "z") == "\n" + once + "z");
  }
}

}  // namespace
}  // namespace sherd::data
