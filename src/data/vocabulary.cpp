#include "data/vocabulary.hpp"

#include <algorithm>
#include <bit>

#include "data/byte_hash.hpp"
#include "sherd/io/file.hpp"

namespace sherd::data {

std::string Vocabulary::fill(const std::vector<Token>& tokens) {
  std::uint32_t count = 0;
  std::size_t bytes = 0;
  for (const Token& token : tokens) {
    if (token.id >= most_tokens)
      return "has the number " + std::to_string(token.id) + ", need less than " +
             std::to_string(most_tokens);
    count = std::max(count, token.id + 1);
    bytes += token.content.size();
  }
  if (bytes >= empty) return "has more than 4 GiB of tokens";
  std::vector<const Token*> by_id(count, nullptr);
  for (const Token& token : tokens) {
    if (by_id[token.id] != nullptr)
      return "gives the number " + std::to_string(token.id) + " to '" +
             io::printable(by_id[token.id]->content) + "' and to '" + io::printable(token.content) +
             "'";
    by_id[token.id] = &token;
  }
  contents_.reserve(bytes);
  ends_.resize(count);
  present_.resize(count);
  for (std::uint32_t id = 0; id < count; ++id) {
    present_[id] = by_id[id] != nullptr;
    if (present_[id]) contents_ += by_id[id]->content;
    ends_[id] = static_cast<std::uint32_t>(contents_.size());
  }
  table_.assign(std::bit_ceil(tokens.size() * 2 + 2), empty);
  for (const Token& token : tokens) {
    if (!token.findable) continue;
    std::uint32_t& place = table_[place_of(token.content)];
    if (place != empty) return "has the token '" + io::printable(token.content) + "' twice";
    place = token.id;
  }
  return "";
}

std::size_t Vocabulary::place_of(std::string_view content) const {
  const std::size_t mask = table_.size() - 1;
  std::size_t at = byte_hash(content) & mask;
  while (table_[at] != empty && (*this)[table_[at]] != content) at = (at + 1) & mask;
  return at;
}

std::optional<std::uint32_t> Vocabulary::find(std::string_view content) const {
  if (table_.empty()) return std::nullopt;
  const std::uint32_t found = table_[place_of(content)];
  return found == empty ? std::nullopt : std::optional(found);
}

}  // namespace sherd::data
