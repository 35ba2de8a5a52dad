#include "kernels/cpu/attention_cached.hpp"

#include "kernels/cpu/blocks.hpp"
#include "sherd/kernels/attention_cached_layout.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_cached.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/dot-inl.hpp"
#include "sherd/kernels/exp_math.hpp"

HWY_BEFORE_NAMESPACE();
namespace sherd::kernels::cpu::HWY_NAMESPACE {

inline constexpr std::size_t step = 4;  // rows of keys or values, taken together
static_assert(largest_cached_head <= block && CachedParts::chunk <= block);

/// What one task sees: a chunk of cached rows, of which some query heads read neighbouring columns.
struct Sight {
  const AttentionCachedArgs& args;
  std::int64_t row, head, heads;      // of the new row: [head, head + heads)
  std::int64_t first, count, stride;  // of cached rows; elements from row to row

  HWY_ATTR Sight(const AttentionCachedArgs& of, std::int64_t at_row, HeadRange range,
                 std::int64_t part)
      : args(of), row(at_row), head(range.first), heads(range.count), stride(of.shape.kv_width()) {
    const std::int64_t begin = part * CachedParts::chunk;
    count = std::min(CachedParts::chunk, cached_seen(args.shape, args.positions, row) - begin);
    first = row / args.shape.length * args.cache.capacity + begin;
  }
  [[nodiscard]] HWY_ATTR std::int64_t key_head(std::int64_t h) const {
    return (head + h) / args.shape.group();
  }
};

/// Rows i … i + 3 of the keys or values of one head, widened; behind the last, the first again.
struct FourRows {
  float space[step][block];
  const float* at[step];
  std::int64_t key_head = -1;

  HWY_ATTR void load(const Sight& s, const View& from, std::int64_t i, std::int64_t wanted) {
    if (wanted == key_head) return;
    key_head = wanted;
    const std::int64_t n = s.args.shape.head_dim;
    std::int64_t place = (s.first + i) * s.stride + key_head * n;
    for (std::size_t k = 0; k < step; ++k, place += s.stride) {
      const bool seen = i + static_cast<std::int64_t>(k) < s.count;
      at[k] = seen ? widen(from, place, n, space[k]) : at[0];
    }
  }
};

using Scores = float[most_cached_heads][CachedParts::chunk + step];

/// scores[h]: the scaled scores of each head. Keys are read once for all heads.
inline void score_keys(const Sight& s, Scores& scores) {
  const AttentionShape& shape = s.args.shape;
  const std::int64_t n = shape.head_dim;
  const float scale = 1.0f / ::sqrtf(static_cast<float>(n));
  float query[most_cached_heads][block];
  const float* queries[most_cached_heads];
  for (std::int64_t h = 0; h < s.heads; ++h) {
    queries[h] = widen(s.args.qkv, s.row * shape.qkv_width() + (s.head + h) * n, n, query[h]);
  }
  FourRows keys;
  for (std::int64_t i = 0; i < s.count; i += std::ssize(keys.at)) {
    keys.key_head = -1;
    for (std::int64_t h = 0; h < s.heads; ++h) {
      keys.load(s, s.args.cache.keys, i, s.key_head(h));
      float sums[step];
      dots(queries[h], keys.at, n, sums);
      for (std::size_t k = 0; k < step; ++k) (scores[h] + i)[k] = sums[k] * scale;
    }
  }
}

/// out[h] += Σ weights[h][i]·values[i], i ascending.
inline void add_values(const Sight& s, const Scores& weights,
                       float* const (&out)[most_cached_heads]) {
  FourRows values;
  for (std::int64_t i = 0; i < s.count; i += std::ssize(values.at)) {
    values.key_head = -1;
    for (std::int64_t h = 0; h < s.heads; ++h) {
      values.load(s, s.args.cache.values, i, s.key_head(h));
      float w[step];
      for (std::size_t k = 0; k < step; ++k) w[k] = (weights[h] + i)[k];
      add_weighted(w, values.at, s.args.shape.head_dim, out[h]);
    }
  }
}

void attend(const AttentionCachedArgs& args, std::int64_t row, HeadRange range, std::int64_t part) {
  const AttentionShape& shape = args.shape;
  const CachedParts parts(shape, args.positions);
  const Sight sight(args, row, range, part);
  if (sight.count <= 0) return;
  Scores scores;
  float* out[most_cached_heads] = {};
  score_keys(sight, scores);
  for (std::int64_t h = 0; h < sight.heads; ++h) {
    float* own = args.scratch.as<float>() + parts.offset(row, sight.head + h, part);
    const float most = largest(scores[h], sight.count);
#pragma GCC ivdep
    for (std::int64_t i = 0; i < sight.count; ++i) scores[h][i] = exp_f32(scores[h][i] - most);
    Lanes lanes{};
    add_lanes(lanes, scores[h], sight.count);
    for (std::size_t k = 0; k < step; ++k) (scores[h] + sight.count)[k] = 0;  // behind the last row
    own[0] = most;
    own[1] = tree_sum(lanes);
    out[h] = own + CachedParts::header;
    std::memset(out[h], 0, static_cast<std::size_t>(shape.head_dim) * sizeof(float));
  }
  add_values(sight, scores, out);
}

/// Heads [first, first + count) of all rows: their parts, in order, become rows of `out`.
void merge_parts(const AttentionCachedArgs& args, std::int64_t first, std::int64_t count) {
  const AttentionShape& shape = args.shape;
  const CachedParts parts(shape, args.positions);
  const std::int64_t n = shape.head_dim;
  float sum[block];
  for (std::int64_t at = first; at < first + count; ++at) {
    const std::int64_t row = at / shape.heads, head = at % shape.heads;
    const std::int64_t seen = CachedParts::chunks_of(cached_seen(shape, args.positions, row));
    const float* part = args.scratch.as<float>() + parts.offset(row, head, 0);
    float most = part[0], total = 0;
    for (std::int64_t k = 1; k < seen; ++k) most = std::max(most, part[k * parts.stride()]);
    std::memset(sum, 0, sizeof sum);
    for (std::int64_t k = 0; k < seen; ++k, part += parts.stride()) {
      const float weight = exp_f32(part[0] - most);
      const float* from = part + CachedParts::header;
      total = ::fmaf(weight, part[1], total);
#pragma GCC ivdep
      for (std::int64_t c = 0; c < n; ++c) sum[c] = ::fmaf(weight, from[c], sum[c]);
    }
    const float share = 1.0f / total;
#pragma GCC ivdep
    for (std::int64_t c = 0; c < n; ++c) sum[c] *= share;
    narrow(sum, args.out, row * shape.width() + head * n, n);
  }
}

inline void copy_block(View from, std::int64_t at, View to, std::int64_t index,
                       std::int64_t count) {
  float space[block];
  for (std::int64_t i = 0; i < count; i += block) {
    const std::int64_t n = std::min(block, count - i);
    narrow(widen(from, at + i, n, space), to, index + i, n);
  }
}
void append_rows(const CacheAppendArgs& args, std::int64_t first, std::int64_t count) {
  const AttentionShape& shape = args.shape;
  const std::int64_t width = shape.kv_width();
  for (std::int64_t row = first; row < first + count; ++row) {
    const std::int64_t place =
        row / shape.length * args.cache.capacity + args.first_position + row % shape.length;
    const std::int64_t key = row * shape.qkv_width() + shape.width();
    copy_block(args.qkv, key, args.cache.keys, place * width, width);
    copy_block(args.qkv, key + width, args.cache.values, place * width, width);
  }
}

}  // namespace sherd::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sherd::kernels::cpu {

HWY_EXPORT(attend);
HWY_EXPORT(merge_parts);
HWY_EXPORT(append_rows);

void cache_append(const CacheAppendArgs& args, device::Workers& workers) {
  run_chunks(workers, args.shape.rows(), 16, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(append_rows)(args, first, count);
  });
}

void attention_cached(const AttentionCachedArgs& args, device::Workers& workers) {
  const AttentionShape& shape = args.shape;
  const std::int64_t chunks = CachedParts(shape, args.positions).chunks;
  const std::int64_t ranges = head_ranges(shape);
  workers.run(shape.rows() * chunks * ranges, [&](std::int64_t index, int) {
    const std::int64_t at = index / ranges;
    HWY_DYNAMIC_DISPATCH(attend)
    (args, at / chunks, head_range(shape, index % ranges), at % chunks);
  });
  run_chunks(workers, shape.rows() * shape.heads, 64, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(merge_parts)(args, first, count);
  });
}

}  // namespace sherd::kernels::cpu
#endif
