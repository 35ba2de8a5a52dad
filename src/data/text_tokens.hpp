#pragma once
// Text that becomes tokens when a run starts.
#include <memory>
#include <string>
#include <vector>

#include "data/token_file.hpp"
#include "sherd/data/tokens.hpp"

namespace sherd::data {

/// Encodes text or JSON lines with `options.tokenizer` into memory, as `tokenize` would with the
/// separator that the tokenizer has.
///
/// **Errors** DataError for more than 16 MiB of text: every rank would hold its tokens.
[[nodiscard]] std::unique_ptr<TokenSource> open_text(const std::vector<std::string>& files,
                                                     TokenFormat format,
                                                     const TokenOptions& options);

}  // namespace sherd::data
