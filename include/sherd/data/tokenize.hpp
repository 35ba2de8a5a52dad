#pragma once
// Text files into folders of tokens.
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sherd/base/units.hpp"
#include "sherd/data/tokenizer.hpp"

namespace sherd::data {

struct TokenizeOptions {
  std::vector<std::string> paths;          // text, or JSON lines (.jsonl): files or folders
  std::string out;                         // the folder to be made
  std::optional<std::uint32_t> separator;  // after each document
  int threads = 1;
  std::uint64_t shard_tokens = std::uint64_t{1} << 27;  // a shard ends at the first piece past them
  Bytes piece_bytes = mib;                              // of text, for one thread at a time
};

struct TokenizeProgress {
  Bytes done = 0, total = 0;  // of text
  std::uint64_t tokens = 0;
};

struct Tokenized {
  std::uint64_t tokens = 0, documents = 0;  // examples count as documents
  std::size_t sources = 0, shards = 0;
  std::size_t kept = 0;  // shards that an earlier run had finished
  Bytes text = 0, written = 0;
  bool examples = false;  // prompts and responses, prompts masked
};

/// Writes `out`: shards of tokens and a manifest. The same bytes come out whatever the threads and
/// however often it was stopped in between.
///
/// **Order** works in a hidden folder beside `out`, which appears at the end, whole and durable. A
/// run that was stopped is gone on with: finished shards whose checksums hold are kept while the
/// text before their ends is what it was. `out` that is there already from the same request is
/// verified and left.
/// **Memory** per thread about 12 MiB and four pieces with their tokens.
/// **Errors** DataError for text, for an `out` that is something else, for another run at work on
/// it; CapacityError when the disk has no room.
Tokenized tokenize(const Tokenizer& tokenizer, const TokenizeOptions& options,
                   const std::function<void(const TokenizeProgress&)>& say = {});

}  // namespace sherd::data
