#pragma once
// Text to tokens and back, as a tokenizer.json says.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sherd::data {

struct TokenizerParts;

/// A byte-level BPE of a Hugging Face `tokenizer.json`: as GPT-2, Llama 3, Qwen 2 and 3 have it.
///
/// Text gives the tokens that the Python package `tokenizers` gives, without what a post-processor
/// would add. Bytes that are no UTF-8 count as U+FFFD, as with Python's errors="replace".
/// **Memory** some 30 MB for 128 thousand tokens; copies share it, threads too.
/// **Errors** DataError naming the file and what is wrong or cannot be done.
class Tokenizer {
 public:
  /// The file, or the one in a folder.
  explicit Tokenizer(const std::string& path);
  /// The content of a file; `name` stands for it in messages.
  Tokenizer(std::string_view json, std::string name);

  /// One more than the highest token.
  [[nodiscard]] std::int64_t vocab_size() const;
  /// Of an added token, or of the token that stands for exactly these bytes.
  [[nodiscard]] std::optional<std::uint32_t> id_of(std::string_view content) const;
  /// The bytes a token stands for; empty for a number that is no token.
  [[nodiscard]] std::string_view bytes_of(std::uint32_t id) const;
  [[nodiscard]] bool is_special(std::uint32_t id) const;
  /// What ends a document by its name: `<|endoftext|>`, `<|end_of_text|>`, `</s>` or `<eos>`.
  [[nodiscard]] std::optional<std::uint32_t> end_of_document() const;

  /// XXH3 (128 bits) of the file, in hexadecimal.
  [[nodiscard]] const std::string& hash() const;
  [[nodiscard]] const std::string& name() const;

  /// The first place behind `from` where text may be cut: both parts together give the tokens of
  /// the whole. Nothing where there is none before the text ends.
  [[nodiscard]] std::optional<std::size_t> cut(std::string_view text, std::size_t from) const;

 private:
  friend class Encoder;
  std::shared_ptr<const TokenizerParts> parts_;
};

/// Encodes for one thread; remembers words it has seen.
class Encoder {
 public:
  explicit Encoder(const Tokenizer& tokenizer);
  Encoder(Encoder&&) noexcept;
  Encoder& operator=(Encoder&&) noexcept;
  ~Encoder();

  /// Appends the tokens of `text`; the contents of added tokens in it become those.
  void encode(std::string_view text, std::vector<std::uint32_t>& into);

 private:
  class Work;
  std::unique_ptr<Work> work_;
};

enum class SpecialTokens : std::uint8_t { skip, keep };

/// Text of tokens as they come: a character that several tokens make comes with the last of them.
class Decoder {
 public:
  explicit Decoder(Tokenizer tokenizer, SpecialTokens special = SpecialTokens::skip);
  /// The text that is complete with this token; bytes that are no UTF-8 become U+FFFD.
  [[nodiscard]] std::string push(std::uint32_t id);
  /// What is left of an unfinished character.
  [[nodiscard]] std::string finish();

 private:
  Tokenizer tokenizer_;
  SpecialTokens special_;
  std::string pending_;
};

}  // namespace sherd::data
