#include "sherd/data/tokenizer.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <utility>

#include "data/tokenizer_parts.hpp"
#include "data/unicode.hpp"
#include "sherd/base/units.hpp"
#include "sherd/io/file.hpp"

namespace sherd::data {
namespace {

std::string tokenizer_path(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return path + "/tokenizer.json";
  return path;
}

std::shared_ptr<const TokenizerParts> open_parts(const std::string& path) {
  const io::File file(tokenizer_path(path));
  return std::make_shared<const TokenizerParts>(
      read_tokenizer(io::read_text(file, 64 * mib), file.path()));
}

}  // namespace

Tokenizer::Tokenizer(const std::string& path) : parts_(open_parts(path)) {}

Tokenizer::Tokenizer(std::string_view json, std::string name)
    : parts_(std::make_shared<const TokenizerParts>(read_tokenizer(json, name))) {}

std::int64_t Tokenizer::vocab_size() const { return parts_->vocabulary.size(); }

std::optional<std::uint32_t> Tokenizer::id_of(std::string_view content) const {
  const auto added = parts_->added.find(std::string(content));
  return added != parts_->added.end() ? added->second : parts_->vocabulary.find(content);
}

std::string_view Tokenizer::bytes_of(std::uint32_t id) const {
  return parts_->vocabulary.contains(id) ? parts_->vocabulary[id] : std::string_view();
}

bool Tokenizer::is_special(std::uint32_t id) const {
  return std::ranges::binary_search(parts_->special, id);
}

std::optional<std::uint32_t> Tokenizer::end_of_document() const {
  for (const char* name : {"<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>"}) {
    const auto found = parts_->added.find(name);
    if (found != parts_->added.end()) return found->second;
  }
  return std::nullopt;
}

const std::string& Tokenizer::hash() const { return parts_->hash; }
const std::string& Tokenizer::name() const { return parts_->name; }

// No rule lets a word go on from a letter or number to a space, and neither normal form nor U+FFFD
// reaches across an ASCII character.
std::optional<std::size_t> Tokenizer::cut(std::string_view text, std::size_t from) const {
  if (parts_->space_first) return std::nullopt;  // every part would begin with a space of its own
  const CharTable& table = CharTable::instance();
  for (std::size_t at = from + 1; at < text.size(); ++at) {
    const bool may = (text[at] == '\n' && parts_->cut_before_line) ||
                     (text[at] == ' ' && parts_->cut_before_space);
    if (!may) continue;
    std::size_t start = at - 1;
    while (start > 0 && at - start < 4 && (static_cast<unsigned char>(text[start]) & 0xc0) == 0x80)
      --start;
    std::string ignored;
    const std::string_view before = text.substr(start, at - start);
    if (valid_utf8(before, ignored).data() != before.data()) continue;
    const CharClass kind = table[char_at(before, 0).point].kind;
    if (kind == CharClass::letter || kind == CharClass::number) return at;
  }
  return std::nullopt;
}

Decoder::Decoder(Tokenizer tokenizer, SpecialTokens special)
    : tokenizer_(std::move(tokenizer)), special_(special) {}

std::string Decoder::push(std::uint32_t id) {
  if (special_ == SpecialTokens::skip && tokenizer_.is_special(id)) return "";
  pending_ += tokenizer_.bytes_of(id);
  const std::size_t whole = whole_characters(pending_);
  std::string scratch;
  std::string text(valid_utf8(std::string_view(pending_).substr(0, whole), scratch));
  pending_.erase(0, whole);
  return text;
}

std::string Decoder::finish() {
  std::string scratch;
  std::string text(valid_utf8(pending_, scratch));
  pending_.clear();
  return text;
}

}  // namespace sherd::data
