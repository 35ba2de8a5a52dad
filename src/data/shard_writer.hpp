#pragma once
// Tokens into the files of one shard.
#include <cstdint>
#include <memory>
#include <string>

#include "data/encoded_text.hpp"
#include "data/growing_file.hpp"
#include "data/manifest.hpp"

namespace sherd::data {

/// Writes the shard with `number` into `folder`, replacing what an unfinished run left of it.
class ShardWriter {
 public:
  /// `type`: u16 or u32.
  ShardWriter(std::string folder, std::size_t number, DType type, bool examples);

  void append(const EncodedText& text);
  [[nodiscard]] std::uint64_t tokens() const { return tokens_; }
  /// Durable on return; digests are of what reads back. `end` is left to the caller.
  [[nodiscard]] Shard finish();

 private:
  void append_starts(const EncodedText& text);

  std::string folder_;
  DType type_;
  std::uint64_t tokens_ = 0, documents_ = 0;
  std::vector<std::string> names_;
  std::vector<std::unique_ptr<GrowingFile>> files_;  // tokens, and of examples labels, starts
};

}  // namespace sherd::data
