#pragma once
// The text of a tokenizer.json as lists and settings, before anything is made of it.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sherd::data {

/// Many texts in one piece of memory.
class Texts {
 public:
  void add(std::string_view text) {
    all_ += text;
    ends_.push_back(all_.size());
  }
  [[nodiscard]] std::size_t size() const { return ends_.size(); }
  [[nodiscard]] std::string_view operator[](std::size_t i) const {
    const std::size_t begin = i == 0 ? 0 : ends_[i - 1];
    return std::string_view(all_).substr(begin, ends_[i] - begin);
  }

 private:
  std::string all_;
  std::vector<std::size_t> ends_;
};

struct TokenizerJson {
  TokenizerJson() = default;
  TokenizerJson(const TokenizerJson&) = delete;
  TokenizerJson& operator=(const TokenizerJson&) = delete;

  nlohmann::json settings;  // all but the two large lists
  Texts tokens;             // model.vocab, as written
  std::vector<std::uint32_t> ids;
  Texts left, right;  // model.merges, in order of rank
  bool has_vocabulary = false, has_merges = false;
};

/// Parses `text` into `result`, holding the vocabulary and merges as lists: as a tree they take ten
/// times that.
///
/// **Errors** DataError starting with `name`: not JSON, keys given twice, nested deeper than 32,
/// too many values, merges that are not two texts, numbers that cannot be tokens.
void parse_tokenizer_json(std::string_view text, const std::string& name, TokenizerJson& result);

}  // namespace sherd::data
