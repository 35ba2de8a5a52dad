#include "data/added_tokens.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace sherd::data {

void AddedTokens::add(std::string content, std::uint32_t id) {
  starts_[static_cast<unsigned char>(content.front())] = true;
  tokens_.push_back({std::move(content), id});
}

void AddedTokens::finish() { std::ranges::sort(tokens_, {}, &Token::content); }

const AddedTokens::Token* AddedTokens::longest_at(std::string_view text) const {
  const Token* longest = nullptr;
  auto first = tokens_.begin(), last = tokens_.end();
  for (std::size_t depth = 0;; ++depth) {
    // The shortest of those that agree so far comes first.
    if (first != last && first->content.size() == depth) longest = &*first++;
    if (first == last || depth == text.size()) return longest;
    const auto byte_of = [&](const Token& token) {
      return static_cast<unsigned char>(token.content[depth]);
    };
    const auto byte = static_cast<unsigned char>(text[depth]);
    first = std::ranges::lower_bound(first, last, byte, {}, byte_of);
    last = std::ranges::upper_bound(first, last, byte, {}, byte_of);
  }
}

std::optional<AddedTokens::Found> AddedTokens::next(std::string_view text, std::size_t from) const {
  if (tokens_.empty()) return std::nullopt;
  for (std::size_t at = from; at < text.size(); ++at) {
    if (!starts_[static_cast<unsigned char>(text[at])]) continue;
    if (const Token* found = longest_at(text.substr(at)))
      return Found{at, at + found->content.size(), found->id};
  }
  return std::nullopt;
}

}  // namespace sherd::data
