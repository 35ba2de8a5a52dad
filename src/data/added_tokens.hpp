#pragma once
// Tokens that are found in text before anything else.
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sherd::data {

/// Finds the leftmost, and of those the longest, of a set of texts.
class AddedTokens {
 public:
  /// `content` is not empty.
  void add(std::string content, std::uint32_t id);
  /// After the last `add`.
  void finish();

  struct Found {
    std::size_t begin, end;
    std::uint32_t id;
  };
  [[nodiscard]] std::optional<Found> next(std::string_view text, std::size_t from) const;
  [[nodiscard]] bool empty() const { return tokens_.empty(); }

 private:
  struct Token {
    std::string content;
    std::uint32_t id;
  };
  [[nodiscard]] const Token* longest_at(std::string_view text) const;

  std::vector<Token> tokens_;  // by the bytes of their contents
  std::array<bool, 256> starts_{};
};

}  // namespace sherd::data
