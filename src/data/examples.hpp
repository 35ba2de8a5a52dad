#pragma once
// Examples, each a sample of its own.
#include <memory>
#include <string>
#include <vector>

#include "data/token_stream.hpp"
#include "sherd/data/tokens.hpp"

namespace sherd::data {

/// The arrays of one shard of examples.
struct ExampleArrays {
  TokenArray tokens, labels, starts;  // starts: one element more than there are examples
};

/// Sample k is example k: its first T tokens and labels; behind a shorter one inputs are 0 and
/// labels −100.
///
/// **Errors** DataError for arrays that do not belong together, and for no example at all.
[[nodiscard]] std::unique_ptr<TokenSource> open_examples(std::vector<ExampleArrays> shards,
                                                         const TokenOptions& options);

}  // namespace sherd::data
