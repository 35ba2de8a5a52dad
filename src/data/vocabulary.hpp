#pragma once
// The tokens of a file, by number and by content.
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sherd::data {

/// Contents of tokens by number; numbers may have gaps.
///
/// **Memory** the contents in one piece, 4 bytes a number and about 8 a token.
class Vocabulary {
 public:
  static constexpr std::uint32_t most_tokens = 1u << 21;

  struct Token {
    std::uint32_t id;
    std::string_view content;
    bool findable = true;  // by its content
  };
  /// What is wrong with `tokens`, numbers and findable contents given twice; empty if nothing.
  [[nodiscard]] std::string fill(const std::vector<Token>& tokens);

  /// One more than the highest number.
  [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(ends_.size()); }
  [[nodiscard]] bool contains(std::uint32_t id) const { return id < size() && present_[id]; }
  /// Empty for a number that is no token.
  [[nodiscard]] std::string_view operator[](std::uint32_t id) const {
    const std::uint32_t begin = id == 0 ? 0 : ends_[id - 1];
    return std::string_view(contents_).substr(begin, ends_[id] - begin);
  }
  [[nodiscard]] std::optional<std::uint32_t> find(std::string_view content) const;

 private:
  static constexpr std::uint32_t empty = std::numeric_limits<std::uint32_t>::max();
  [[nodiscard]] std::size_t place_of(std::string_view content) const;

  std::string contents_;
  std::vector<std::uint32_t> ends_;   // of each content
  std::vector<bool> present_;         // by number
  std::vector<std::uint32_t> table_;  // numbers by hash, with open addressing
};

}  // namespace sherd::data
