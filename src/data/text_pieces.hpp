#pragma once
// Text files by parts that can be encoded apart.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/digest.hpp"
#include "sherd/data/tokenizer.hpp"
#include "sherd/io/file.hpp"

namespace sherd::data {

enum class TextFormat : std::uint8_t { plain, lines };  // lines: one JSON object each

struct SourceFile {
  std::string path;
  Bytes bytes = 0;
  std::string digest;  // empty until all of it was read
};

/// Where a piece starts or ends.
struct TextPlace {
  std::size_t source = 0;  // the file's number
  Bytes byte = 0;
  bool operator==(const TextPlace&) const = default;
};

struct TextPiece {
  std::string text;
  TextPlace begin, end;  // the end of a file is the start of the next
  bool ends_file = false;
};

/// Reads files in order, by pieces of about `piece_bytes` that end where the tokenizer says that
/// text may be cut, or lines end.
///
/// **Memory** one piece; where there is no place to cut, more: up to 256 MiB, of a line 64 MiB.
/// **Errors** DataError naming file and byte.
class TextPieces {
 public:
  TextPieces(std::vector<std::string> paths, Tokenizer tokenizer, TextFormat format,
             Bytes piece_bytes = mib);

  [[nodiscard]] std::optional<TextPiece> next();

  /// Goes on at `place`, a piece's end, having read and digested all before it.
  void skip_to(TextPlace place);
  /// The digest of the current file's bytes before the next piece.
  [[nodiscard]] std::string digest_so_far() const;

  [[nodiscard]] const std::vector<SourceFile>& sources() const { return sources_; }
  [[nodiscard]] Bytes total_bytes() const { return total_; }

 private:
  void open();
  void finish_file();
  [[nodiscard]] bool read_more(Bytes bytes);
  [[nodiscard]] std::size_t end_of_piece();

  std::vector<SourceFile> sources_;
  Tokenizer tokenizer_;
  TextFormat format_;
  Bytes piece_bytes_, total_ = 0;
  TextPlace place_;
  std::optional<io::File> file_;
  std::unique_ptr<Digest> digest_;
  std::string buffer_;  // read from place_ on
};

}  // namespace sherd::data
