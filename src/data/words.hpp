#pragma once
// Where text is cut into words before pairs are merged.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace sherd::data {

/// The regular expressions that tokenizer files name, matched by hand.
enum class WordRule : std::uint8_t { gpt2, llama3, qwen };

/// Nothing for an expression other than these three.
[[nodiscard]] std::optional<WordRule> word_rule_of(std::string_view expression);

/// The end of the word that starts at `text[at]`; `text` is valid UTF-8 and `at` inside it.
[[nodiscard]] std::size_t word_end(WordRule rule, std::string_view text, std::size_t at);

}  // namespace sherd::data
