#include "data/text_record.hpp"

#include <array>
#include <nlohmann/json.hpp>

#include "sherd/base/errors.hpp"
#include "sherd/io/file.hpp"

namespace sherd::data {
namespace {

constexpr std::array known_keys = {"text", "prompt", "response"};

/// Takes the events of the parser; the library's interface names its members. Nothing but the
/// three texts is kept, so nothing else can take memory.
class RecordEvents {
 public:
  explicit RecordEvents(const std::string& where) : where_(where) {}

  bool null() { return other(); }
  bool boolean(bool) { return other(); }
  bool number_integer(std::int64_t) { return other(); }
  bool number_unsigned(std::uint64_t) { return other(); }
  bool number_float(double, const std::string&) { return other(); }
  bool binary(nlohmann::json::binary_t&) { return other(); }
  bool string(std::string& text) {
    if (depth_ == 0) refuse("is no JSON object");
    if (depth_ == 1 && wanted_ != nullptr) *wanted_ = std::move(text);
    return true;
  }
  bool key(std::string& name) {
    if (depth_ != 1) return true;
    wanted_ = nullptr;
    messages_ = messages_ || name == "messages";
    for (std::size_t i = 0; i < known_keys.size(); ++i) {
      if (name != known_keys[i]) continue;
      if (texts_[i]) refuse("has the key '" + name + "' twice");
      wanted_ = &texts_[i].emplace();
      name_ = name;
    }
    return true;
  }
  bool start_object(std::size_t) { return open(); }
  bool start_array(std::size_t) {
    if (depth_ == 0) refuse("is no JSON object");
    return open();
  }
  bool end_object() { return --depth_ >= 0; }
  bool end_array() { return --depth_ >= 0; }
  bool parse_error(std::size_t byte, const std::string&, const nlohmann::json::exception&) {
    refuse("is not valid JSON at its byte " + std::to_string(byte > 0 ? byte - 1 : 0));
  }

  [[nodiscard]] TextRecord record() {
    auto& [text, prompt, response] = texts_;
    if (text && !prompt && !response) return {RecordKind::document, "", std::move(*text)};
    if (prompt && response && !text)
      return {RecordKind::example, std::move(*prompt), std::move(*response)};
    refuse(messages_ ? "has 'messages', which need a chat template; write 'prompt' and 'response'"
                     : "needs 'text', or 'prompt' and 'response'");
  }

 private:
  bool other() {
    if (depth_ == 0) refuse("is no JSON object");
    return check_wanted();
  }
  bool open() {
    check_wanted();
    ++depth_;
    return true;
  }
  bool check_wanted() const {
    if (depth_ == 1 && wanted_ != nullptr) refuse("has a '" + name_ + "' that is no text");
    return true;
  }
  [[noreturn]] void refuse(const std::string& problem) const {
    throw DataError(where_ + ": " + problem);
  }

  const std::string& where_;
  std::array<std::optional<std::string>, known_keys.size()> texts_;
  std::string* wanted_ = nullptr;
  std::string name_;
  bool messages_ = false;
  std::int64_t depth_ = 0;
};

}  // namespace

TextRecord parse_record(std::string_view line, const std::string& where) {
  RecordEvents events(where);
  try {
    if (!nlohmann::json::sax_parse(line.begin(), line.end(), &events))
      throw DataError(where + ": is not valid JSON");
  } catch (const nlohmann::json::exception& error) {
    throw DataError(where + ": cannot be used (" + io::printable(error.what()) + ")");
  }
  return events.record();
}

}  // namespace sherd::data
