#pragma once
// Attention of a few new rows of each sequence to all rows before them, whose keys and values are
// kept: generation.
// Source: Dao et al. 2023, "Flash-Decoding": keys in fixed chunks, whose results are merged.
#include "sherd/device/stream.hpp"
#include "sherd/kernels/attention.hpp"

namespace sherd::kernels {

inline constexpr std::int64_t largest_cached_head = 256;  // elements

/// Keys and values of `capacity` positions of each sequence.
struct KeyValueCache {
  std::int64_t capacity = 0;
  View keys{}, values{};  // [sequences·capacity, kv_width]
};

struct CacheAppendArgs {
  AttentionShape shape{};  // of the new rows
  View qkv{};              // [sequences·length, qkv_width]: q | k | v
  KeyValueCache cache{};
  std::int64_t first_position = 0;  // of the first new row of every sequence
};
/// k and v of the new rows become rows first_position … of the cache, in its type.
void cache_append(const CacheAppendArgs& args, StreamRef stream);

struct AttentionCachedArgs {
  AttentionShape shape{};  // of the new rows; length is 1 once a token at a time is generated
  View qkv{};              // [sequences·length, qkv_width]; only q is read
  KeyValueCache cache{};
  std::int64_t positions = 0;  // cached, the new ones last: row r sees positions - length + r + 1
  View out{};                  // [sequences·length, width]
  View scratch{};              // attention_cached_scratch bytes
};
[[nodiscard]] Bytes attention_cached_scratch(const AttentionShape& shape, std::int64_t capacity,
                                             const Target& target);
void attention_cached(const AttentionCachedArgs& args, StreamRef stream);

}  // namespace sherd::kernels
