#include "sherd/data/text_codec.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace sherd;
using data::TextCodec;

namespace {

/// The pieces that tokens make, the last one from `finish`.
std::vector<std::string> pieces(TextCodec codec, const std::vector<std::int32_t>& tokens) {
  std::vector<std::string> all;
  for (const std::int32_t token : tokens) all.push_back(codec.push(token));
  all.push_back(codec.finish());
  return all;
}
std::string joined(const std::vector<std::string>& all) {
  std::string text;
  for (const std::string& one : all) text += one;
  return text;
}

const std::string many = "é, 日本 and 🜁!";

}  // namespace

TEST_CASE("bytes come as whole characters, each with its last byte") {
  const TextCodec codec;
  CHECK(codec.vocab_size() == 256);
  CHECK(pieces(codec, codec.encode("aé🜁")) ==
        std::vector<std::string>{"a", "", "é", "", "", "", "🜁", ""});
  CHECK(joined(pieces(codec, codec.encode(many))) == many);
}

TEST_CASE("bytes that are no UTF-8 become U+FFFD and hold nothing back for ever") {
  const TextCodec codec;
  CHECK(pieces(codec, {'a', 0xff, 'b', 0xe6, 'c', 0xf0, 0x9f}) ==
        std::vector<std::string>{"a", "�", "b", "", "�c", "", "", "�"});
}

TEST_CASE("a number that is no token has no text") {
  TextCodec codec;
  CHECK(codec.push(256).empty());
  CHECK(codec.push(-1).empty());
  CHECK(codec.push('x') == "x");
}

TEST_CASE("a tokenizer's tokens come back as the text, in whole characters") {
  for (const char* name : {"gpt2", "llama3", "qwen"}) {
    CAPTURE(name);
    const TextCodec codec(
        data::Tokenizer(std::string(SHERD_FIXTURES "/tokenizers/") + name + ".json"));
    const std::vector<std::int32_t> tokens = codec.encode(many);
    CHECK(tokens.size() > 2);
    const std::vector<std::string> all = pieces(codec, tokens);
    CHECK(joined(all) == many);
    for (const std::string& piece : all)
      CHECK((piece.empty() || (static_cast<unsigned char>(piece.front()) & 0xc0) != 0x80));
  }
}
