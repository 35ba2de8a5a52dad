#include "data/tokenizer_parts.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "data/digest.hpp"
#include "data/tokenizer_json.hpp"
#include "data/unicode.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/io/file.hpp"

namespace sherd::data {
namespace {

using Setting = nlohmann::json;

/// GPT-2's alphabet: the byte each character of a written token stands for, or −1.
/// **Source** bytes_to_unicode of github.com/openai/gpt-2, src/encoder.py.
const std::array<int, 324>& byte_of_character() {
  static const std::array<int, 324> bytes = [] {
    std::array<int, 324> table{};
    table.fill(-1);
    std::size_t moved = 256;
    for (int byte = 0; byte < 256; ++byte) {
      const bool shown = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
      table[shown ? static_cast<std::size_t>(byte) : moved++] = byte;
    }
    return table;
  }();
  return bytes;
}

/// The bytes a written token stands for; nothing where a character is not of the alphabet.
std::optional<std::string> bytes_of_written(std::string_view written) {
  std::string bytes;
  for (std::size_t at = 0; at < written.size();) {
    const auto [point, size] = char_at(written, at);
    const int byte = point < 324 ? byte_of_character()[point] : -1;
    if (byte < 0) return std::nullopt;
    bytes += static_cast<char>(byte);
    at += size;
  }
  return bytes;
}

/// Fills parts from the lists and settings of one file.
class PartsReader {
 public:
  PartsReader(const TokenizerJson& file, TokenizerParts& parts) : file_(file), parts_(parts) {}

  void read() {
    const Setting& model = member(file_.settings, "model");
    const std::string type = text_of(member(model, "type"));
    if (!type.empty() && type != "BPE") refuse("model.type", type, "BPE");
    if (!file_.has_vocabulary || !file_.has_merges)
      throw DataError(parts_.name + ": needs model.vocab and model.merges");
    for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (!text_of(member(model, name)).empty())
        refuse(std::string("model.") + name, text_of(member(model, name)), "none");
    const Setting& dropout = member(model, "dropout");
    if (!dropout.is_null() && dropout != 0) refuse("model.dropout", dropout.dump(), "none");
    parts_.ignore_merges = flag(model, "ignore_merges");
    read_normalizer(member(file_.settings, "normalizer"));
    read_pre_tokenizer(member(file_.settings, "pre_tokenizer"));
    read_added();
    fill_vocabulary();
    fill_merges();
  }

 private:
  [[noreturn]] void refuse(const std::string& what, const std::string& got,
                           const std::string& need) const {
    throw DataError(parts_.name + ": " + what + ": got " + io::printable(got) + ", need " + need);
  }
  static const Setting& member(const Setting& object, const char* name) {
    static const Setting absent;
    if (!object.is_object()) return absent;
    const auto found = object.find(name);
    return found == object.end() ? absent : *found;
  }
  static std::string text_of(const Setting& value) {
    return value.is_string() ? value.get<std::string>() : std::string();
  }
  static bool flag(const Setting& object, const char* name, bool usual = false) {
    const Setting& value = member(object, name);
    return value.is_boolean() ? value.get<bool>() : usual;
  }

  void read_normalizer(const Setting& normalizer) {
    if (normalizer.is_null()) return;
    const std::string type = text_of(member(normalizer, "type"));
    if (type == "NFC") {
      parts_.normal_form_c = true;
    } else if (type == "Sequence" && member(normalizer, "normalizers").is_array()) {
      for (const Setting& one : member(normalizer, "normalizers"))
        if (text_of(member(one, "type")) != "NFC") refuse_normalizer(one);
      parts_.normal_form_c = !member(normalizer, "normalizers").empty();
    } else {
      refuse_normalizer(normalizer);
    }
  }
  [[noreturn]] void refuse_normalizer(const Setting& one) const {
    refuse("normalizer", text_of(member(one, "type")), "NFC or none");
  }

  void read_pre_tokenizer(const Setting& whole) {
    const std::string type = text_of(member(whole, "type"));
    if (type == "ByteLevel" && flag(whole, "use_regex", true)) {
      parts_.rule = WordRule::gpt2;
      parts_.space_first = flag(whole, "add_prefix_space", true);
      return;
    }
    const Setting& steps = member(whole, "pretokenizers");
    if (type != "Sequence" || !steps.is_array() || steps.size() != 2) refuse_pre_tokenizer(type);
    const Setting &split = steps[0], &bytes = steps[1];
    if (text_of(member(split, "type")) != "Split" || text_of(member(bytes, "type")) != "ByteLevel")
      refuse_pre_tokenizer(text_of(member(split, "type")) + " and " +
                           text_of(member(bytes, "type")));
    if (flag(bytes, "use_regex", true) || flag(bytes, "add_prefix_space", true))
      refuse("pre_tokenizer.ByteLevel", "use_regex or add_prefix_space after a Split",
             "neither of them");
    if (text_of(member(split, "behavior")) != "Isolated" || flag(split, "invert"))
      refuse("pre_tokenizer.Split", text_of(member(split, "behavior")), "Isolated, not inverted");
    const std::string expression = text_of(member(member(split, "pattern"), "Regex"));
    const std::optional<WordRule> rule = word_rule_of(expression);
    if (!rule)
      refuse("pre_tokenizer.Split.pattern", expression,
             "the regular expression of GPT-2, Llama 3 or Qwen");
    parts_.rule = *rule;
  }
  [[noreturn]] void refuse_pre_tokenizer(const std::string& got) const {
    refuse("pre_tokenizer", got.empty() ? "none" : got,
           "ByteLevel with its regular expression, or Split and ByteLevel");
  }

  void read_added() {
    const Setting& list = member(file_.settings, "added_tokens");
    if (!list.is_array() && !list.is_null())
      throw DataError(parts_.name + ": added_tokens is no list");
    for (const Setting& one : list) {
      const std::string content = text_of(member(one, "content"));
      const Setting& id = member(one, "id");
      if (content.empty() || !id.is_number_unsigned() ||
          id.get<std::uint64_t>() >= Vocabulary::most_tokens)
        throw DataError(parts_.name + ": added_tokens: '" + io::printable(content) +
                        "' needs a content and a number below " +
                        std::to_string(Vocabulary::most_tokens));
      for (const char* name : {"single_word", "lstrip", "rstrip"})
        if (flag(one, name))
          refuse("added token '" + io::printable(content) + "'", name, "none of its rules");
      add_token(content, id.get<std::uint32_t>(), flag(one, "normalized", true));
      if (flag(one, "special")) parts_.special.push_back(id.get<std::uint32_t>());
    }
    std::ranges::sort(parts_.special);
    parts_.in_text.finish();
    parts_.in_normal_form.finish();
  }
  void add_token(const std::string& content, std::uint32_t id, bool normalized) {
    if (!parts_.added.emplace(content, id).second)
      throw DataError(parts_.name + ": has the added token '" + io::printable(content) + "' twice");
    forbid_cuts(content);
    if (!normalized) return parts_.in_text.add(content, id);
    std::string scratch;
    parts_.in_normal_form.add(
        std::string(parts_.normal_form_c ? normal_form_c(content, scratch) : content), id);
  }
  /// Text is cut behind letters and numbers, before spaces: no added token may lie across that.
  void forbid_cuts(const std::string& content) {
    for (const char* blank = content.c_str() + 1; *blank != '\0'; ++blank) {
      const bool may = static_cast<unsigned char>(blank[-1]) >= 0x30;
      if (*blank == ' ' && may) parts_.cut_before_space = false;
      if (*blank == '\n' && may) parts_.cut_before_line = false;
    }
  }

  void fill_vocabulary() {
    Texts contents;
    std::vector<bool> plain;
    for (std::size_t i = 0; i < file_.tokens.size(); ++i) {
      const std::string_view written = file_.tokens[i];
      const std::optional<std::string> bytes = bytes_of_written(written);
      const auto added = parts_.added.find(std::string(written));
      const bool is_added = added != parts_.added.end();
      if (is_added && added->second != file_.ids[i])
        throw DataError(parts_.name + ": gives '" + io::printable(written) + "' the numbers " +
                        std::to_string(file_.ids[i]) + " and " + std::to_string(added->second));
      contents.add(bytes ? *bytes : written);
      plain.push_back(bytes.has_value());
      if (is_added) in_both_.push_back(file_.ids[i]);
    }
    std::ranges::sort(in_both_);
    std::vector<Vocabulary::Token> tokens;
    for (std::size_t i = 0; i < contents.size(); ++i)
      tokens.push_back({file_.ids[i], contents[i], plain[i]});
    for (const auto& [content, id] : parts_.added)
      if (!std::ranges::binary_search(in_both_, id)) tokens.push_back({id, content, false});
    const std::string problem = parts_.vocabulary.fill(tokens);
    if (!problem.empty()) throw DataError(parts_.name + ": " + problem);
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const char content = static_cast<char>(byte);
      const auto found = parts_.vocabulary.find({&content, 1});
      if (!found)
        throw DataError(parts_.name + ": model.vocab: has no token for byte " +
                        std::to_string(byte) + ", need one for each of the 256");
      parts_.bytes[byte] = *found;
    }
  }

  void fill_merges() {
    parts_.merges.reserve(file_.left.size());
    for (std::size_t i = 0; i < file_.left.size(); ++i) {
      const std::optional<std::string> left = bytes_of_written(file_.left[i]),
                                       right = bytes_of_written(file_.right[i]);
      const auto part = [&](const std::optional<std::string>& bytes) {
        return bytes ? parts_.vocabulary.find(*bytes) : std::nullopt;
      };
      const auto first = part(left), second = part(right);
      const auto both = first && second ? parts_.vocabulary.find(*left + *right) : std::nullopt;
      if (!both)
        throw DataError(parts_.name + ": model.merges: number " + std::to_string(i) + ", '" +
                        io::printable(file_.left[i]) + "' and '" + io::printable(file_.right[i]) +
                        "': one of them or what they make is not in the vocabulary");
      parts_.merges.add(*first, *second, {static_cast<std::uint32_t>(i), *both});
    }
  }

  const TokenizerJson& file_;
  TokenizerParts& parts_;
  std::vector<std::uint32_t> in_both_;  // added tokens that the vocabulary has too
};

}  // namespace

TokenizerParts read_tokenizer(std::string_view json, const std::string& name) {
  TokenizerParts parts;
  parts.name = name;
  parts.hash = digest_of(json);
  TokenizerJson file;
  parse_tokenizer_json(json, name, file);
  PartsReader(file, parts).read();
  return parts;
}

}  // namespace sherd::data
