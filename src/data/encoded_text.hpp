#pragma once
// Pieces of text as the tokens, labels and examples they come to.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/text_pieces.hpp"
#include "data/text_record.hpp"
#include "sherd/data/tokenizer.hpp"

namespace sherd::data {

struct EncodedText {
  std::vector<std::uint32_t> tokens;
  // Of examples only: a label for each token, one later or −100, and where each example ends.
  std::vector<std::int32_t> labels;
  std::vector<std::uint32_t> ends;
  std::uint64_t documents = 0;  // or examples
};

/// Encodes pieces for one thread. A document is followed by the separator, if there is one; an
/// example is prompt, response and separator, and only the latter two are labels.
class TextEncoder {
 public:
  TextEncoder(const Tokenizer& tokenizer, std::optional<std::uint32_t> separator,
              RecordKind kind = RecordKind::document)
      : encoder_(tokenizer), separator_(separator), kind_(kind) {}

  /// A part of a text file; a file without a byte is no document.
  void add_plain(const TextPiece& piece, EncodedText& into);
  /// Lines of a JSON lines file of path `path`; blank ones are passed over.
  ///
  /// **Errors** DataError naming file and byte, a line of another kind included.
  void add_lines(const TextPiece& piece, const std::string& path, EncodedText& into);

 private:
  void add_example(const TextRecord& record, EncodedText& into);
  void add_separator(EncodedText& into);

  Encoder encoder_;
  std::optional<std::uint32_t> separator_;
  RecordKind kind_;
};

/// Of the first line of JSON lines files that is not blank; documents if there is none.
[[nodiscard]] RecordKind record_kind_of(const std::vector<std::string>& paths);

}  // namespace sherd::data
