#pragma once
#include <algorithm>

#include "sherd/device/workers.hpp"
#include "sherd/kernels/attention_cached.hpp"

namespace sherd::kernels::cpu {

/// Query heads of one task: of whole groups, or a part of one group.
inline constexpr std::int64_t most_cached_heads = 16;
struct HeadRange {
  std::int64_t first = 0, count = 0;
};
/// How many ranges there are, and the one of an index.
[[nodiscard]] constexpr std::int64_t head_ranges(const AttentionShape& shape) {
  const std::int64_t group = shape.group(), most = most_cached_heads;
  if (group > most) return shape.key_heads() * ((group + most - 1) / most);
  const std::int64_t each = most / group * group;
  return (shape.heads + each - 1) / each;
}
[[nodiscard]] constexpr HeadRange head_range(const AttentionShape& shape, std::int64_t index) {
  const std::int64_t group = shape.group(), most = most_cached_heads;
  if (group > most) {
    const std::int64_t pieces = (group + most - 1) / most;
    const std::int64_t first = index % pieces * most;
    return {index / pieces * group + first, std::min(most, group - first)};
  }
  const std::int64_t each = most / group * group, first = index * each;
  return {first, std::min(each, shape.heads - first)};
}

void cache_append(const CacheAppendArgs& args, device::Workers& workers);
void attention_cached(const AttentionCachedArgs& args, device::Workers& workers);

}  // namespace sherd::kernels::cpu
