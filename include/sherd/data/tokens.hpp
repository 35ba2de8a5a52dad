#pragma once
// Streams of tokens as numbered windows.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sherd/data/source.hpp"

namespace sherd::data {

struct TokenOptions {
  std::int64_t seq_len = 0;     // T: tokens a sample
  std::int64_t vocab_size = 0;  // tokens are below it
};

/// Windows of one long stream: all files, one after the other, in the order of `open_tokens`.
///
/// A stream of n tokens gives floor((n − 1) / T) samples. Sample k: inputs are tokens
/// [kT, kT + T); labels are the tokens one later or, where arrays have a `labels.npy` beside
/// them, its elements [kT, kT + T) as they are: nothing is shifted, −100 is not counted.
/// Windows run across file borders.
/// **Shapes** inputs, labels i32 [1, T].
class TokenSource : public Source {
 public:
  [[nodiscard]] virtual std::uint64_t tokens() const = 0;
  [[nodiscard]] virtual std::uint64_t files() const = 0;
  /// Reads everything once; DataError at the first token (or label) outside the vocabulary.
  /// Free where the type cannot hold such a token (bytes, vocabulary of 256).
  virtual void check_tokens() const = 0;
};

/// Opens text files (each byte a token), llm.c `.bin`, `.npy` arrays of whole numbers, or folders
/// of one of these kinds; the name's ending tells the kind.
///
/// Folders are walked recursively in byte order of the paths; hidden names are skipped; a file is
/// read once however many links lead to it.
/// **Errors** DataError: every missing or unreadable path, mixed kinds, bad headers, fewer than
/// T + 1 tokens.
[[nodiscard]] std::unique_ptr<TokenSource> open_tokens(const std::vector<std::string>& paths,
                                                       TokenOptions options);

}  // namespace sherd::data
