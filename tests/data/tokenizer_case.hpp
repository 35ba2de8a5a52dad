#pragma once
// The small tokenizers of tests/fixtures, and what `tokenizers` makes of text with them.
#include <array>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "sherd/data/tokenizer.hpp"

namespace sherd::test {

using Ids = std::vector<std::uint32_t>;

inline constexpr std::array small_tokenizers = {"gpt2", "llama3", "qwen"};

inline std::string tokenizer_fixture(const std::string& file) {
  return std::string(SHERD_FIXTURES) + "/tokenizers/" + file;
}

inline std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline data::Tokenizer small_tokenizer(const std::string& name) {
  return data::Tokenizer(tokenizer_fixture(name + ".json"));
}

inline const nlohmann::json& expected_tokens() {
  static const nlohmann::json expected =
      nlohmann::json::parse(content_of(tokenizer_fixture("expected.json")));
  return expected;
}

inline Ids encoded(data::Encoder& encoder, std::string_view text) {
  Ids ids;
  encoder.encode(text, ids);
  return ids;
}

/// FNV-1a over the numbers as four bytes each, the lowest first.
inline std::string hash_of(std::span<const std::uint32_t> ids) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const std::uint32_t id : ids)
    for (int shift = 0; shift < 32; shift += 8)
      hash = (hash ^ (id >> shift & 255)) * 0x100000001b3u;
  std::string text(16, '0');
  for (std::size_t i = 0; i < 16; ++i) text[15 - i] = "0123456789abcdef"[hash >> (4 * i) & 15];
  return text;
}

}  // namespace sherd::test
