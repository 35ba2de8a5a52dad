#pragma once
// Windows of one long stream.
#include <memory>
#include <string>

#include "data/token_stream.hpp"
#include "sherd/data/tokens.hpp"

namespace sherd::data {

/// `labels` are empty or one for each token; `format` only counts in the fingerprint.
/// `tokens` has seq_len + 1 tokens or more.
[[nodiscard]] std::unique_ptr<TokenSource> windows_of(TokenFormat format, TokenStream tokens,
                                                      TokenStream labels,
                                                      const TokenOptions& options);

/// Throws DataError if there are too few tokens for one window; `from` says where they came from.
void require_window(const TokenStream& tokens, const TokenOptions& options,
                    const std::string& from);

/// Throws DataError if the tokenizer that made, or makes, the tokens of `name` has more than the
/// model.
void require_vocabulary(const std::string& name, std::int64_t tokenizer_size,
                        const TokenOptions& options);

}  // namespace sherd::data
