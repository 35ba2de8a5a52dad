#include "data/encoded_text.hpp"

#include <algorithm>
#include <span>
#include <string_view>

#include "sherd/base/errors.hpp"

namespace sherd::data {
namespace {

constexpr std::int32_t masked = -100;

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

std::string place_in(const std::string& path, Bytes byte) {
  return path + ": the line at byte " + std::to_string(byte);
}

/// The first line that is not blank, up to 64 MiB of a file.
std::optional<TextRecord> first_record(const std::string& path) {
  const io::File file(path);
  std::string text;
  for (Bytes at = 0; at < file.size() && text.size() < 64 * mib;) {
    const std::size_t old = text.size();
    text.resize(old + std::min<Bytes>(256 * kib, file.size() - at));
    file.pread_exact(at, std::as_writable_bytes(std::span(text).subspan(old)));
    at += text.size() - old;
    const std::size_t first = text.find_first_not_of(" \t\r\n");
    const std::size_t end = first == std::string::npos ? first : text.find('\n', first);
    if (first == std::string::npos || (end == std::string::npos && at < file.size())) continue;
    return parse_record(std::string_view(text).substr(first, end - first), place_in(path, first));
  }
  return std::nullopt;
}

}  // namespace

void TextEncoder::add_separator(EncodedText& into) {
  if (separator_) into.tokens.push_back(*separator_);
}

void TextEncoder::add_plain(const TextPiece& piece, EncodedText& into) {
  encoder_.encode(piece.text, into.tokens);
  if (!piece.ends_file || piece.begin.byte + piece.text.size() == 0) return;
  add_separator(into);
  ++into.documents;
}

void TextEncoder::add_lines(const TextPiece& piece, const std::string& path, EncodedText& into) {
  const std::string_view text = piece.text;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    if (!is_blank(line)) {
      const std::string where = place_in(path, piece.begin.byte + at);
      const TextRecord record = parse_record(line, where);
      if (record.kind != kind_)
        throw DataError(where + (kind_ == RecordKind::example
                                     ? ": has 'text', need 'prompt' and 'response' as before"
                                     : ": has 'prompt' and 'response', need 'text' as before"));
      add_example(record, into);
    }
    at = end + 1;
  }
}

void TextEncoder::add_example(const TextRecord& record, EncodedText& into) {
  const std::size_t first = into.tokens.size();
  encoder_.encode(record.prompt, into.tokens);
  const std::size_t response = into.tokens.size();
  encoder_.encode(record.text, into.tokens);
  add_separator(into);
  ++into.documents;
  if (kind_ == RecordKind::document) return;
  const std::size_t end = into.tokens.size();
  for (std::size_t i = first + 1; i < end; ++i)
    into.labels.push_back(i < response ? masked : static_cast<std::int32_t>(into.tokens[i]));
  if (end > first) into.labels.push_back(masked);
  into.ends.push_back(static_cast<std::uint32_t>(end));
}

RecordKind record_kind_of(const std::vector<std::string>& paths) {
  for (const std::string& path : paths)
    if (const auto record = first_record(path)) return record->kind;
  return RecordKind::document;
}

}  // namespace sherd::data
