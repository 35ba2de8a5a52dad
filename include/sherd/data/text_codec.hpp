#pragma once
// Text to tokens and back for generation: bytes as they are, or a tokenizer.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sherd/data/tokenizer.hpp"

namespace sherd::data {

class TextCodec {
 public:
  /// Tokens are bytes.
  TextCodec() = default;
  explicit TextCodec(Tokenizer tokenizer);

  [[nodiscard]] const std::optional<Tokenizer>& tokenizer() const { return tokenizer_; }
  [[nodiscard]] std::int64_t vocab_size() const;
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text) const;

  /// The text that is complete with this token, valid UTF-8; a number that is no token gives none.
  [[nodiscard]] std::string push(std::int32_t token);
  /// What is left of an unfinished character.
  [[nodiscard]] std::string finish();

 private:
  std::optional<Tokenizer> tokenizer_;
  std::optional<Decoder> decoder_;
  std::string pending_;  // bytes of a character that is not complete
};

}  // namespace sherd::data
