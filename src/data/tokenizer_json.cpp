#include "data/tokenizer_json.hpp"

#include "data/vocabulary.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/base/units.hpp"
#include "sherd/io/file.hpp"

namespace sherd::data {
namespace {

using Tree = nlohmann::json;

// The largest files in use have 33 MB, 262 thousand tokens and half a million merges.
constexpr std::size_t most_text = 64 * mib, most_values = std::size_t{1} << 22;
constexpr std::size_t most_settings = std::size_t{1} << 18, deepest = 32;

/// Takes the events of the parser; the library's interface names its members.
class TokenizerEvents {
 public:
  TokenizerEvents(TokenizerJson& result, const std::string& name) : result_(result), name_(name) {}

  bool null() { return value(nullptr); }
  bool boolean(bool flag) { return value(flag); }
  bool number_integer(std::int64_t number) { return value(number); }
  bool number_unsigned(std::uint64_t number) {
    if (place_ != Place::vocabulary) return value(number);
    count();
    if (number >= Vocabulary::most_tokens)
      refuse("model.vocab: token '" + io::printable(token_) + "' has the number " +
             std::to_string(number) + ", need less than " +
             std::to_string(Vocabulary::most_tokens));
    if (result_.tokens.size() == Vocabulary::most_tokens)
      refuse("model.vocab: has more than " + std::to_string(Vocabulary::most_tokens) + " tokens");
    result_.tokens.add(token_);
    result_.ids.push_back(static_cast<std::uint32_t>(number));
    return true;
  }
  bool number_float(double number, const std::string&) { return value(number); }
  bool binary(Tree::binary_t&) { return false; }
  bool string(std::string& text) {
    if (place_ == Place::merges) return merge(text);
    if (place_ != Place::pair) return value(std::move(text));
    count();
    if (in_pair_ == 2) refuse_merge();
    (in_pair_++ == 0 ? result_.left : result_.right).add(text);
    return true;
  }
  bool key(std::string& name) {
    if (place_ == Place::vocabulary) {
      token_ = std::move(name);
      return true;
    }
    if (open_.back()->contains(name)) refuse("has the key '" + io::printable(name) + "' twice");
    key_ = std::move(name);
    return true;
  }

  bool start_object(std::size_t) {
    if (place_ != Place::settings) wrong_value();
    if (at_model() && key_ == "vocab") {
      if (result_.has_vocabulary) refuse("has the key 'vocab' twice");
      result_.has_vocabulary = true;
      place_ = Place::vocabulary;
      return true;
    }
    return open(Tree::object());
  }
  bool end_object() { return close(); }
  bool start_array(std::size_t) {
    if (place_ == Place::merges) {
      place_ = Place::pair;
      in_pair_ = 0;
      return true;
    }
    if (place_ != Place::settings) wrong_value();
    if (at_model() && key_ == "merges") {
      if (result_.has_merges) refuse("has the key 'merges' twice");
      result_.has_merges = true;
      place_ = Place::merges;
      return true;
    }
    return open(Tree::array());
  }
  bool end_array() {
    if (place_ != Place::pair) return close();
    if (in_pair_ != 2) refuse_merge();
    in_pair_ = 0;
    place_ = Place::merges;
    return true;
  }
  bool parse_error(std::size_t byte, const std::string&, const Tree::exception&) {
    refuse("is not valid JSON at byte " + std::to_string(byte > 0 ? byte - 1 : 0));
  }

 private:
  enum class Place : std::uint8_t { settings, vocabulary, merges, pair };

  [[nodiscard]] bool at_model() const {
    return open_.size() == 2 && open_.front()->contains("model") &&
           &open_.front()->at("model") == open_.back();
  }
  bool value(Tree value) {
    if (place_ != Place::settings) wrong_value();
    count();
    put(std::move(value));
    return true;
  }
  bool open(Tree container) {
    count();
    if (open_.size() == deepest) refuse("is nested deeper than " + std::to_string(deepest));
    open_.push_back(&put(std::move(container)));
    return true;
  }
  bool close() {
    if (place_ == Place::settings)
      open_.pop_back();
    else
      place_ = Place::settings;
    return true;
  }
  Tree& put(Tree value) {
    if (++settings_ > most_settings) refuse("has too many settings");
    if (open_.empty()) return result_.settings = std::move(value);
    if (open_.back()->is_object()) return (*open_.back())[key_] = std::move(value);
    open_.back()->push_back(std::move(value));
    return open_.back()->back();
  }
  bool merge(const std::string& text) {
    count();
    const std::size_t space = text.find(' ');
    if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos)
      refuse_merge();
    result_.left.add(std::string_view(text).substr(0, space));
    result_.right.add(std::string_view(text).substr(space + 1));
    return true;
  }
  void count() {
    if (++values_ > most_values) refuse("has more than " + std::to_string(most_values) + " values");
  }

  [[noreturn]] void wrong_value() const {
    if (place_ == Place::vocabulary)
      refuse("model.vocab: token '" + io::printable(token_) + "' has no whole number");
    refuse_merge();
  }
  [[noreturn]] void refuse_merge() const {
    const std::size_t done = result_.left.size() - (in_pair_ > 0 ? 1 : 0);
    refuse("model.merges: number " + std::to_string(done) +
           " is no pair, need \"a b\" or [\"a\", \"b\"]");
  }
  [[noreturn]] void refuse(const std::string& problem) const {
    throw DataError(name_ + ": " + problem);
  }

  TokenizerJson& result_;
  const std::string& name_;
  Place place_ = Place::settings;
  std::vector<Tree*> open_;
  std::string key_, token_;
  std::size_t values_ = 0, settings_ = 0;
  int in_pair_ = 0;
};

}  // namespace

void parse_tokenizer_json(std::string_view text, const std::string& name, TokenizerJson& result) {
  if (text.size() > most_text)
    throw DataError(name + ": got " + std::to_string(text.size()) + " bytes, need at most " +
                    std::to_string(most_text));
  TokenizerEvents events(result, name);
  try {
    if (!Tree::sax_parse(text.begin(), text.end(), &events))
      throw DataError(name + ": is not valid JSON");
  } catch (const Tree::exception& error) {
    throw DataError(name + ": has JSON that cannot be used (" + io::printable(error.what()) + ")");
  }
  if (!result.settings.is_object()) throw DataError(name + ": is no JSON object");
}

}  // namespace sherd::data
