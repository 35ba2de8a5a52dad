#include "sherd/data/tokenizer.hpp"

#include <doctest/doctest.h>

#include <random>

#include "data/tokenizer_case.hpp"

namespace sherd::data {
namespace {

using test::encoded;
using test::expected_tokens;
using test::Ids;
using test::small_tokenizer;
using test::small_tokenizers;

std::string from_hex(const std::string& digits) {
  std::string bytes;
  for (std::size_t i = 0; i < digits.size(); i += 2)
    bytes += static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16));
  return bytes;
}

std::string decoded(const Tokenizer& tokenizer, const Ids& ids,
                    SpecialTokens special = SpecialTokens::keep) {
  Decoder decoder(tokenizer, special);
  std::string text;
  for (const std::uint32_t id : ids) text += decoder.push(id);
  return text + decoder.finish();
}

TEST_CASE("Texts of all kinds give the tokens that tokenizers gives") {
  for (const std::string name : small_tokenizers) {
    Encoder encoder(small_tokenizer(name));
    for (const auto& one : expected_tokens()["cases"]) {
      CAPTURE(name);
      CAPTURE(one["text"].dump());
      CHECK(encoded(encoder, one["text"].get<std::string>()) == one["ids"][name].get<Ids>());
    }
  }
}

TEST_CASE(
    "Long multilingual text gives the tokens that tokenizers gives, remembered words or not") {
  const std::string text = test::content_of(test::tokenizer_fixture("text.txt"));
  for (const std::string name : small_tokenizers) {
    CAPTURE(name);
    Encoder encoder(small_tokenizer(name));
    const Ids ids = encoded(encoder, text);
    CHECK(ids.size() == expected_tokens()["text"][name]["count"]);
    CHECK(test::hash_of(ids) == expected_tokens()["text"][name]["hash"]);
    CHECK(encoded(encoder, text) == ids);
  }
}

TEST_CASE("Bytes that are no UTF-8 count as Python's errors=replace makes them") {
  for (const std::string name : small_tokenizers) {
    const Tokenizer tokenizer = small_tokenizer(name);
    Encoder encoder(tokenizer);
    for (const auto& one : expected_tokens()["invalid"]) {
      CAPTURE(name);
      CAPTURE(one["hex"].dump());
      const Ids ids = encoded(encoder, from_hex(one["hex"]));
      CHECK(ids == one["ids"][name].get<Ids>());
      CHECK(decoded(tokenizer, ids) == one["text"].get<std::string>());
    }
  }
}

TEST_CASE("Sizes, numbers and contents of tokens agree with the file") {
  for (const std::string name : small_tokenizers) {
    const Tokenizer tokenizer = small_tokenizer(name);
    CHECK(tokenizer.vocab_size() == expected_tokens()["vocab_size"][name]);
    for (std::uint32_t id = 0; id < tokenizer.vocab_size(); ++id) {
      CAPTURE(id);
      REQUIRE_FALSE(tokenizer.bytes_of(id).empty());
      CHECK(tokenizer.id_of(tokenizer.bytes_of(id)) == id);
    }
    CHECK(tokenizer.bytes_of(1u << 31).empty());
    CHECK_FALSE(tokenizer.id_of("no such token").has_value());
    CHECK(tokenizer.is_special(*tokenizer.end_of_document()));
    CHECK(tokenizer.hash().size() == 32);
  }
  CHECK(small_tokenizer("gpt2").bytes_of(*small_tokenizer("gpt2").end_of_document()) ==
        "<|endoftext|>");
  CHECK(small_tokenizer("llama3").bytes_of(*small_tokenizer("llama3").end_of_document()) ==
        "<|end_of_text|>");
  CHECK_FALSE(small_tokenizer("qwen").is_special(*small_tokenizer("qwen").id_of("<think>")));
}

TEST_CASE("Decoding gives back what was encoded, whatever characters its tokens split") {
  const std::string text = test::content_of(test::tokenizer_fixture("text.txt"));
  for (const std::string name : {"gpt2", "llama3"}) {  // qwen's is a normal form
    const Tokenizer tokenizer = small_tokenizer(name);
    Encoder encoder(tokenizer);
    CHECK(decoded(tokenizer, encoded(encoder, text)) == text);
  }
}

TEST_CASE("A decoder holds back unfinished characters and leaves special tokens out if asked") {
  const Tokenizer tokenizer = small_tokenizer("gpt2");
  const std::uint32_t first = *tokenizer.id_of("\xf0"), second = *tokenizer.id_of("\x9f"),
                      third = *tokenizer.id_of("\x99");
  Decoder decoder(tokenizer);
  CHECK(decoder.push(first).empty());
  CHECK(decoder.push(second).empty());
  CHECK(decoder.push(*tokenizer.end_of_document()).empty());
  CHECK(decoder.push(third).empty());
  CHECK(decoder.push(*tokenizer.id_of("\x82")) == "\xf0\x9f\x99\x82");
  CHECK(decoder.push(first).empty());
  CHECK(decoder.push(*tokenizer.id_of("a")) ==
        "\xef\xbf\xbd"
        "a");
  CHECK(decoder.push(second) == "\xef\xbf\xbd");
  CHECK(decoder.push(first).empty());
  CHECK(decoder.finish() == "\xef\xbf\xbd");
  CHECK(decoder.finish().empty());
  CHECK(decoded(tokenizer, {*tokenizer.end_of_document()}) == "<|endoftext|>");
}

TEST_CASE("Text cut where a tokenizer says gives the tokens of the whole") {
  std::string text = test::content_of(test::tokenizer_fixture("text.txt"));
  text.insert(1000, "a\xff b\xe6\x97\nc\xc3 \xcc\x81\n");
  std::mt19937_64 random(7);
  for (const std::string name : small_tokenizers) {
    const Tokenizer tokenizer = small_tokenizer(name);
    Encoder encoder(tokenizer);
    const Ids whole = encoded(encoder, text);
    for (const std::size_t step : {1u, 50u, 3000u}) {
      Ids parts;
      std::string_view rest = text;
      std::size_t pieces = 0;
      for (auto cut = tokenizer.cut(rest, 0); cut; cut = tokenizer.cut(rest, random() % step)) {
        encoder.encode(rest.substr(0, *cut), parts);
        rest.remove_prefix(*cut);
        ++pieces;
      }
      encoder.encode(rest, parts);
      CHECK(pieces > 10);
      CHECK(parts == whole);
    }
    CHECK_FALSE(tokenizer.cut("!!! 。\n ,\n", 0).has_value());
    CHECK(tokenizer.cut("abc\nd e", 3) == 5);
  }
}

TEST_CASE("Words of any length merge as short ones do") {
  // Both ways of merging meet at 96 bytes; a run of one letter has one right answer, by its length.
  const Tokenizer tokenizer = small_tokenizer("gpt2");
  Encoder encoder(tokenizer);
  for (const std::string unit : {"human", "人", "dignity"}) {
    std::string word;
    Ids before;
    for (int count = 1; count < 60; ++count) {
      word += unit;
      const Ids ids = encoded(encoder, word);
      CHECK(decoded(tokenizer, ids) == word);
      CHECK(ids.size() >= before.size());
      before = ids;
    }
  }
}

}  // namespace
}  // namespace sherd::data
