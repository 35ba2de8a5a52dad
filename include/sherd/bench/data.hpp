#pragma once
// Text to tokens, beside what stays when every word is known.
#include <string>
#include <vector>

#include "sherd/bench/rows.hpp"
#include "sherd/data/tokenizer.hpp"

namespace sherd::bench {

/// Encodes up to 32 MiB of `text` (4 when quick) with one thread, beside the same text again whose
/// words are remembered; and with all threads, beside as many times one thread's rate.
///
/// `wrong` counts bytes that do not come back: of a tokenizer without a normal form, and of text
/// that is UTF-8.
/// **Errors** UsageError for no text.
[[nodiscard]] std::vector<Row> data(const BenchOptions& options,
                                    const sherd::data::Tokenizer& tokenizer, std::string text);

}  // namespace sherd::bench
