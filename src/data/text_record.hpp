#pragma once
// One line of a JSON lines file.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sherd::data {

/// A document (`text`), or an example (`prompt` and `response`).
enum class RecordKind : std::uint8_t { document, example };

struct TextRecord {
  RecordKind kind = RecordKind::document;
  std::string prompt;  // of an example
  std::string text;    // the document, or the response
};

/// Reads `{"text": …}` or `{"prompt": …, "response": …}`; other keys are passed over.
///
/// **Errors** DataError starting with `where`: not JSON, no such keys, keys given twice or that are
/// no text.
[[nodiscard]] TextRecord parse_record(std::string_view line, const std::string& where);

}  // namespace sherd::data
