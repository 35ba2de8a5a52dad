#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "data/byte_hash.hpp"
#include "data/merges.hpp"
#include "data/tokenizer_parts.hpp"
#include "data/unicode.hpp"
#include "sherd/data/tokenizer.hpp"

namespace sherd::data {
namespace {

/// Words and their tokens, forgotten all at once when there are too many.
class SeenWords {
 public:
  using Ids = std::vector<std::uint32_t>;
  static constexpr std::size_t longest = 64;  // bytes of a word worth keeping

  /// Appends the tokens of `word` if it is known; its hash is asked for again by `keep`.
  bool append(std::string_view word, std::uint64_t hash, Ids& into) const {
    for (std::size_t at = hash & mask;; at = (at + 1) & mask) {
      const Place& place = places_[at];
      if (place.count == 0) return false;
      if (place.tag != tag_of(hash) || place.size != word.size()) continue;
      const std::uint32_t* ids = &kept_[place.first];
      if (std::memcmp(ids + place.count, word.data(), word.size()) != 0) continue;
      into.insert(into.end(), ids, ids + place.count);
      return true;
    }
  }

  void keep(std::string_view word, std::uint64_t hash, const std::uint32_t* ids,
            std::size_t count) {
    if (words_ == most_words || kept_.size() > most_kept) forget();
    std::size_t at = hash & mask;
    while (places_[at].count != 0) at = (at + 1) & mask;
    places_[at] = {static_cast<std::uint32_t>(kept_.size()), tag_of(hash),
                   static_cast<std::uint8_t>(word.size()), static_cast<std::uint8_t>(count)};
    ++words_;
    kept_.insert(kept_.end(), ids, ids + count);
    const std::size_t first = kept_.size();
    kept_.resize(first + (word.size() + 3) / 4);
    std::memcpy(&kept_[first], word.data(), word.size());
  }

 private:
  struct Place {
    std::uint32_t first = 0;  // in kept_: the tokens, then the word's bytes
    std::uint16_t tag = 0;
    std::uint8_t size = 0, count = 0;  // count 0: nothing here
  };
  static constexpr std::size_t mask = (std::size_t{1} << 17) - 1, most_words = mask * 5 / 8;
  static constexpr std::size_t most_kept = std::size_t{1} << 20;
  static std::uint16_t tag_of(std::uint64_t hash) { return static_cast<std::uint16_t>(hash >> 48); }
  void forget() {
    std::ranges::fill(places_, Place{});
    kept_.clear();
    words_ = 0;
  }

  std::vector<Place> places_ = std::vector<Place>(mask + 1);
  Ids kept_;
  std::size_t words_ = 0;
};

}  // namespace

class Encoder::Work {
 public:
  using Ids = std::vector<std::uint32_t>;

  explicit Work(std::shared_ptr<const TokenizerParts> parts)
      : parts_(std::move(parts)), merger_(parts_->merges) {}

  void encode(std::string_view text, Ids& into) {
    split(parts_->in_text, valid_utf8(text, repaired_), into,
          [&](std::string_view part) { normalize(part, into); });
  }

 private:
  template <class Rest>
  void split(const AddedTokens& tokens, std::string_view text, Ids& into, const Rest& rest) {
    std::size_t at = 0;
    while (const auto found = tokens.next(text, at)) {
      if (found->begin > at) rest(text.substr(at, found->begin - at));
      into.push_back(found->id);
      at = found->end;
    }
    if (at < text.size()) rest(text.substr(at));
  }

  void normalize(std::string_view text, Ids& into) {
    if (parts_->normal_form_c) text = normal_form_c(text, normal_);
    split(parts_->in_normal_form, text, into, [&](std::string_view part) { words(part, into); });
  }

  void words(std::string_view text, Ids& into) {
    if (parts_->space_first && !text.starts_with(' ')) text = spaced_.assign(" ").append(text);
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = word_end(parts_->rule, text, at);
      word(text.substr(at, end - at), into);
      at = end;
    }
  }

  void word(std::string_view bytes, Ids& into) {
    if (bytes.size() > SeenWords::longest) return merge(bytes, into);
    const std::uint64_t hash = byte_hash(bytes);
    if (seen_.append(bytes, hash, into)) return;
    const std::size_t first = into.size();
    merge(bytes, into);
    seen_.keep(bytes, hash, &into[first], into.size() - first);
  }

  void merge(std::string_view bytes, Ids& into) {
    if (parts_->ignore_merges) {
      if (const auto whole = parts_->vocabulary.find(bytes)) return into.push_back(*whole);
    }
    const std::size_t first = into.size();
    for (const char byte : bytes) into.push_back(parts_->bytes[static_cast<unsigned char>(byte)]);
    into.resize(first + merger_.run(std::span(into).subspan(first)));
  }

  std::shared_ptr<const TokenizerParts> parts_;
  WordMerger merger_;
  SeenWords seen_;
  std::string repaired_, normal_, spaced_;
};

Encoder::Encoder(const Tokenizer& tokenizer) : work_(std::make_unique<Work>(tokenizer.parts_)) {}
Encoder::Encoder(Encoder&&) noexcept = default;
Encoder& Encoder::operator=(Encoder&&) noexcept = default;
Encoder::~Encoder() = default;

void Encoder::encode(std::string_view text, std::vector<std::uint32_t>& into) {
  work_->encode(text, into);
}

}  // namespace sherd::data
