#include "sherd/data/text_codec.hpp"

#include "data/unicode.hpp"

namespace sherd::data {

TextCodec::TextCodec(Tokenizer tokenizer)
    : tokenizer_(tokenizer), decoder_(std::in_place, std::move(tokenizer)) {}

std::int64_t TextCodec::vocab_size() const { return tokenizer_ ? tokenizer_->vocab_size() : 256; }

std::vector<std::int32_t> TextCodec::encode(std::string_view text) const {
  std::vector<std::int32_t> tokens;
  if (!tokenizer_) {
    for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
    return tokens;
  }
  std::vector<std::uint32_t> found;
  Encoder(*tokenizer_).encode(text, found);
  for (const std::uint32_t token : found) tokens.push_back(static_cast<std::int32_t>(token));
  return tokens;
}

std::string TextCodec::push(std::int32_t token) {
  if (token < 0 || token >= vocab_size()) return {};
  if (decoder_) return decoder_->push(static_cast<std::uint32_t>(token));
  pending_ += static_cast<char>(static_cast<unsigned char>(token));
  const std::size_t whole = whole_characters(pending_);
  std::string scratch;
  std::string text(valid_utf8(std::string_view(pending_).substr(0, whole), scratch));
  pending_.erase(0, whole);
  return text;
}

std::string TextCodec::finish() {
  if (decoder_) return decoder_->finish();
  std::string scratch;
  std::string text(valid_utf8(pending_, scratch));
  pending_.clear();
  return text;
}

}  // namespace sherd::data
