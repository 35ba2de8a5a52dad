#pragma once
// Folders that `tokenize` made, as data.
#include <memory>
#include <string>
#include <vector>

#include "sherd/data/tokens.hpp"

namespace sherd::data {

/// Opens folders with a manifest, all of one tokenizer and one kind; `check_tokens` verifies every
/// checksum too.
///
/// **Errors** DataError naming folder or file: sizes or counts other than the manifest's, another
/// tokenizer than `options.tokenizer`, a vocabulary larger than the model's.
[[nodiscard]] std::unique_ptr<TokenSource> open_token_folders(
    const std::vector<std::string>& folders, const TokenOptions& options);

}  // namespace sherd::data
