#include "data/text_pieces.hpp"

#include <algorithm>
#include <span>
#include <utility>

#include "sherd/base/errors.hpp"

namespace sherd::data {
namespace {

constexpr Bytes longest_uncut = 256 * mib, longest_record = 64 * mib;

}  // namespace

TextPieces::TextPieces(std::vector<std::string> paths, Tokenizer tokenizer, TextFormat format,
                       Bytes piece_bytes)
    : tokenizer_(std::move(tokenizer)), format_(format), piece_bytes_(piece_bytes) {
  expects(piece_bytes > 0, "text_pieces: got pieces of no bytes");
  for (std::string& path : paths) {
    const Bytes bytes = io::File(path).size();
    sources_.push_back({std::move(path), bytes, ""});
    total_ += bytes;
  }
}

void TextPieces::open() {
  SourceFile& source = sources_[place_.source];
  file_.emplace(source.path);
  if (file_->size() != source.bytes)
    throw DataError(source.path + ": changed since its size was taken (from " +
                    std::to_string(source.bytes) + " to " + std::to_string(file_->size()) +
                    " bytes)");
  digest_ = std::make_unique<Digest>();
}

void TextPieces::finish_file() {
  sources_[place_.source].digest = digest_->hex();
  file_.reset();
  digest_.reset();
  place_ = {place_.source + 1, 0};
}

bool TextPieces::read_more(Bytes bytes) {
  const Bytes at = place_.byte + buffer_.size(), now = std::min(bytes, file_->size() - at);
  const std::size_t old = buffer_.size();
  buffer_.resize(old + now);
  file_->pread_exact(at, std::as_writable_bytes(std::span(buffer_).subspan(old)));
  return now > 0;
}

std::size_t TextPieces::end_of_piece() {
  const Bytes longest = format_ == TextFormat::lines ? longest_record : longest_uncut;
  for (std::size_t from = piece_bytes_ - 1;;) {
    std::optional<std::size_t> end;
    if (from < buffer_.size() && format_ == TextFormat::plain) {
      end = tokenizer_.cut(buffer_, from);
    } else if (from < buffer_.size()) {
      const std::size_t line = buffer_.find('\n', from);
      if (line != std::string::npos) end = line + 1;
    }
    if (end) return *end;
    // The character before the end is looked at again: what follows it was not there.
    from = std::max<std::size_t>(from, buffer_.empty() ? 0 : buffer_.size() - 1);
    if (!read_more(std::max<Bytes>(piece_bytes_, buffer_.size() / 2))) return buffer_.size();
    if (buffer_.size() > longest + piece_bytes_)
      file_->refuse(place_.byte, format_ == TextFormat::lines
                                     ? "has no line end in 64 MiB"
                                     : "has no space or line end behind a letter in 256 MiB");
  }
}

std::optional<TextPiece> TextPieces::next() {
  if (place_.source == sources_.size()) return std::nullopt;
  if (!file_) open();
  TextPiece piece{"", place_, {}, false};
  const std::size_t size = end_of_piece();
  piece.text = buffer_.substr(0, size);
  buffer_.erase(0, size);
  digest_->add(piece.text);
  place_.byte += size;
  if (place_.byte == file_->size()) {
    finish_file();
    piece.ends_file = true;
  }
  piece.end = place_;
  return piece;
}

void TextPieces::skip_to(TextPlace place) {
  while (place_.source < place.source) {
    open();
    digest_->add(*file_, 0, file_->size());
    finish_file();
  }
  if (place.byte == 0) return;
  open();
  digest_->add(*file_, 0, place.byte);
  place_ = place;
}

std::string TextPieces::digest_so_far() const { return digest_ ? digest_->hex() : ""; }

}  // namespace sherd::data
