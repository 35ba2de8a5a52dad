// tokenizer.json. What is accepted must give every text back, and cut it only where it says.
#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "fuzz/json_change.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/data/tokenizer.hpp"

namespace sherd::fuzz {
namespace {

constexpr std::array<std::string_view, 4> texts = {
    "the cat sat, the hat  is\n\n 1234 theatre's <|end|>the  ", "a<|end|>b <|x|>",
    "\xe6\x97\xa5 caf\xc3\xa9 \xf0\x9f\x98\x80 caf\x65\xcc\x81", "broken \xff\xc3 \xe6\x97"};

std::vector<std::uint32_t> encoded(data::Encoder& encoder, std::string_view text) {
  std::vector<std::uint32_t> ids;
  encoder.encode(text, ids);
  return ids;
}

/// Without the spaces that some tokenizers put before text.
std::string plain(std::string text) {
  std::erase(text, ' ');
  return text;
}

void check_text(const data::Tokenizer& tokenizer, data::Encoder& encoder, std::string_view text) {
  const std::vector<std::uint32_t> ids = encoded(encoder, text);
  std::string back;
  for (const std::uint32_t id : ids) {
    promised(id < tokenizer.vocab_size(), "tokens are below the size of the vocabulary");
    back += tokenizer.bytes_of(id);
  }
  const bool ascii = std::ranges::all_of(text, [](char c) { return c > 0; });
  if (ascii) promised(plain(back) == plain(std::string(text)), "tokens give their text back");
  for (std::size_t from = 0; from < text.size(); from += 5) {
    const std::optional<std::size_t> cut = tokenizer.cut(text, from);
    if (!cut) continue;
    promised(*cut > from && *cut < text.size(), "cuts are behind and inside");
    std::vector<std::uint32_t> parts = encoded(encoder, text.substr(0, *cut));
    std::ranges::copy(encoded(encoder, text.substr(*cut)), std::back_inserter(parts));
    promised(parts == ids, "a text that is cut gives the tokens of the whole");
  }
}

/// The character that stands for a byte, as GPT-2 writes it.
std::string written(std::size_t byte) {
  const auto shown = [](std::size_t b) {
    return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  };
  std::size_t point = byte;
  if (!shown(byte)) {
    point = 256;
    for (std::size_t b = 0; b < byte; ++b) point += shown(b) ? 0U : 1U;
  }
  if (point < 128) return {static_cast<char>(point)};
  return {static_cast<char>(0xc0 | point >> 6), static_cast<char>(0x80 | (point & 63))};
}

Tree model_of(Random& random) {
  Tree vocabulary = Tree::object(), merges = Tree::array();
  for (std::size_t byte = 0; byte < 256; ++byte) vocabulary[written(byte)] = byte;
  std::size_t next = 256;
  for (const auto& [left, right] : {std::pair{"t", "h"}, {"th", "e"}, {"a", "t"}, {"h", "at"}}) {
    vocabulary[std::string(left) + right] = next++;
    merges.push_back(random.one_in(2) ? Tree(std::string(left) + " " + right)
                                      : Tree::array({left, right}));
  }
  return {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", merges}, {"ignore_merges", false}};
}

}  // namespace

bool accepts(const std::string& input) {
  std::optional<data::Tokenizer> tokenizer;
  try {
    tokenizer.emplace(input, "tokenizer.json");
  } catch (const DataError& error) {
    promised(std::string_view(error.what()).starts_with("tokenizer.json: "), "the file is named");
    return false;
  }
  data::Encoder encoder(*tokenizer);
  for (const std::string_view text : texts) check_text(*tokenizer, encoder, text);
  return true;
}

std::string seed(Random& random) {
  Tree tree = {{"model", model_of(random)}, {"normalizer", nullptr}};
  if (random.one_in(2)) tree["normalizer"] = {{"type", "NFC"}};
  tree["pre_tokenizer"] = {
      {"type", "ByteLevel"}, {"add_prefix_space", random.one_in(2)}, {"use_regex", true}};
  const Tree end = {{"id", 260}, {"content", "<|end|>"}, {"special", true}, {"normalized", false}};
  tree["added_tokens"] = Tree::array({end});
  if (random.one_in(2))
    tree["added_tokens"].push_back({{"id", 261}, {"content", "<|x|>"}, {"special", false}});
  return tree.dump();
}

std::string changed(const std::string& input, Random& random, const ChangeBytes& change) {
  return changed_json(input, random, change);
}

}  // namespace sherd::fuzz
