#include "data/text_tokens.hpp"

#include <cstring>
#include <utility>

#include "data/encoded_text.hpp"
#include "data/examples.hpp"
#include "data/token_windows.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::data {
namespace {

constexpr Bytes most_held_text = 16 * mib;

template <class To, class From>
TokenArray held_as(const std::string& path, DType type, const std::vector<From>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(To));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const To value = static_cast<To>(values[i]);
    std::memcpy(bytes.data() + i * sizeof(To), &value, sizeof(To));
  }
  return TokenArray::held(path, type, std::move(bytes));
}

TokenArray held_tokens(const std::string& path, std::int64_t vocab_size,
                       const std::vector<std::uint32_t>& tokens) {
  return vocab_size <= 65536 ? held_as<std::uint16_t>(path, DType::u16, tokens)
                             : held_as<std::uint32_t>(path, DType::u32, tokens);
}

}  // namespace

std::unique_ptr<TokenSource> open_text(const std::vector<std::string>& files, TokenFormat format,
                                       const TokenOptions& options) {
  const Tokenizer& tokenizer = *options.tokenizer;
  if (!files.empty() && format != TokenFormat::text && format != TokenFormat::lines)
    throw DataError(files.front() + ": holds tokens already; leave --tokenizer out");
  require_vocabulary(tokenizer.name(), tokenizer.vocab_size(), options);
  const bool lines = format == TokenFormat::lines;
  TextPieces pieces(files, tokenizer, lines ? TextFormat::lines : TextFormat::plain);
  if (pieces.total_bytes() > most_held_text)
    throw DataError("data: got " + format_bytes(pieces.total_bytes()) + " of text, need at most " +
                    format_bytes(most_held_text) +
                    " with a tokenizer; write its tokens once: sherd data tokenize");
  const RecordKind kind = lines ? record_kind_of(files) : RecordKind::document;
  TextEncoder encoder(tokenizer, tokenizer.end_of_document(), kind);
  TokenStream tokens;
  std::vector<ExampleArrays> examples;
  EncodedText text;
  while (const auto piece = pieces.next()) {
    const std::string& path = files[piece->begin.source];
    if (lines)
      encoder.add_lines(*piece, path, text);
    else
      encoder.add_plain(*piece, text);
    if (!piece->ends_file) continue;
    TokenArray array = held_tokens(path, tokenizer.vocab_size(), text.tokens);
    if (kind == RecordKind::document) {
      tokens.add(std::move(array));
    } else {
      text.ends.insert(text.ends.begin(), 0);
      examples.push_back({std::move(array), held_as<std::int32_t>(path, DType::i32, text.labels),
                          held_as<std::uint32_t>(path, DType::u32, text.ends)});
    }
    text = {};
  }
  if (kind == RecordKind::example) return open_examples(std::move(examples), options);
  require_window(tokens, options, files.empty() ? "no path" : "'" + files.front() + "'");
  return windows_of(format, std::move(tokens), {}, options);
}

}  // namespace sherd::data
