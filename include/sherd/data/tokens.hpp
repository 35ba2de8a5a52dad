#pragma once
// Streams of tokens as numbered windows.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sherd/data/source.hpp"
#include "sherd/data/tokenizer.hpp"

namespace sherd::data {

struct TokenOptions {
  std::int64_t seq_len = 0;              // T: tokens a sample
  std::int64_t vocab_size = 0;           // tokens are below it
  std::optional<Tokenizer> tokenizer{};  // of text; nothing: its bytes
  std::vector<std::string> skip{};       // files and folders that are no data, if they exist
};

/// Samples of T tokens: windows of one long stream, or examples.
///
/// Windows run over all files, one after the other, in the order of `open_tokens`. A stream of n
/// tokens gives floor((n − 1) / T) samples. Sample k: inputs are tokens [kT, kT + T); labels are
/// the tokens one later or, where arrays have a `labels.npy` beside them, its elements [kT, kT + T)
/// as they are: nothing is shifted, −100 is not counted. Examples (prompt and response) are a
/// sample each: their first T tokens, behind shorter ones inputs 0; prompts and what is behind have
/// the label −100.
/// **Shapes** inputs, labels i32 [1, T].
class TokenSource : public Source {
 public:
  [[nodiscard]] virtual std::uint64_t tokens() const = 0;
  [[nodiscard]] virtual std::uint64_t files() const = 0;
  /// Reads everything once; DataError at the first token (or label) outside the vocabulary.
  /// Free where the type cannot hold such a token (bytes, vocabulary of 256).
  virtual void check_tokens() const = 0;
};

/// Opens text files (each byte a token, or as the tokenizer says), JSON lines (with a tokenizer),
/// llm.c `.bin`, `.npy` arrays of whole numbers, folders of one of these kinds, or folders made by
/// `tokenize`; the name's ending tells the kind.
///
/// Folders are walked recursively in byte order of the paths; hidden names and what `skip` names
/// are left out; a file is read once however many links lead to it.
/// **Memory** text with a tokenizer is held as tokens: 2 or 4 bytes each, of examples 8 more.
/// **Errors** DataError: every missing or unreadable path, mixed kinds, bad headers, too few tokens
/// for a sample, more than 16 MiB of text with a tokenizer, a tokenizer for what is tokens already
/// or one that has more tokens than the model.
[[nodiscard]] std::unique_ptr<TokenSource> open_tokens(const std::vector<std::string>& paths,
                                                       const TokenOptions& options);

}  // namespace sherd::data
