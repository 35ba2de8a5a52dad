#pragma once
// What a tokenizer file comes to.
#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "data/added_tokens.hpp"
#include "data/merges.hpp"
#include "data/vocabulary.hpp"
#include "data/words.hpp"

namespace sherd::data {

struct TokenizerParts {
  std::string name, hash;
  Vocabulary vocabulary;  // contents as bytes; those of added tokens as they are
  Merges merges;
  std::array<std::uint32_t, 256> bytes{};  // the token of each byte
  WordRule rule = WordRule::gpt2;
  bool ignore_merges = false;  // a word that is a token needs no merges
  bool space_first = false;    // text is given a space where it starts without one
  bool normal_form_c = false;
  AddedTokens in_text, in_normal_form;  // found before and after normalization
  std::unordered_map<std::string, std::uint32_t> added;
  std::vector<std::uint32_t> special;                    // sorted
  bool cut_before_space = true, cut_before_line = true;  // behind a letter or number
};

/// Reads a tokenizer.json. **Errors** DataError starting with `name`.
[[nodiscard]] TokenizerParts read_tokenizer(std::string_view json, const std::string& name);

}  // namespace sherd::data
