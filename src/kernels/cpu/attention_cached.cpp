#include "kernels/cpu/attention_cached.hpp"

#include "kernels/cpu/blocks.hpp"
#include "sherd/kernels/attention_cached_layout.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_cached.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/block-inl.hpp"
#include "sherd/kernels/exp_math.hpp"

HWY_BEFORE_NAMESPACE();
namespace sherd::kernels::cpu::HWY_NAMESPACE {

inline constexpr std::int64_t most_heads = 8;  // of a group, taken together
static_assert(largest_cached_head <= block && CachedParts::chunk <= block);

/// Keys [first, first + count) of the rows that one task sees, and the query heads that look.
struct Sight {
  const AttentionCachedArgs& args;
  std::int64_t row, head, heads;      // heads [head, head + heads) share a key head
  std::int64_t first, count, stride;  // of cached rows; elements from row to row

  HWY_ATTR Sight(const AttentionCachedArgs& of, std::int64_t at_row, std::int64_t at_head,
                 std::int64_t how_many, std::int64_t part)
      : args(of), row(at_row), head(at_head), heads(how_many), stride(of.shape.kv_width()) {
    const std::int64_t begin = part * CachedParts::chunk;
    count = std::min(CachedParts::chunk, cached_seen(args.shape, args.positions, row) - begin);
    first = row / args.shape.length * args.cache.capacity + begin;
  }
  // Element of the first row at which the shared head begins.
  [[nodiscard]] HWY_ATTR std::int64_t start() const {
    return first * stride + head / args.shape.group() * args.shape.head_dim;
  }
};

/// scores[h]: the scaled scores of each head. Keys are read once for all heads.
inline void score_keys(const Sight& s, float (&scores)[most_heads][CachedParts::chunk]) {
  const AttentionShape& shape = s.args.shape;
  const std::int64_t n = shape.head_dim;
  const float scale = 1.0f / ::sqrtf(static_cast<float>(n));
  float query[most_heads][block], key_space[block];
  const float* queries[most_heads];
  for (std::int64_t h = 0; h < s.heads; ++h) {
    queries[h] = widen(s.args.qkv, s.row * shape.qkv_width() + (s.head + h) * n, n, query[h]);
  }
  for (std::int64_t i = 0; i < s.count; ++i) {
    const float* key = widen(s.args.cache.keys, s.start() + i * s.stride, n, key_space);
    for (std::int64_t h = 0; h < s.heads; ++h) {
      Lanes lanes{};
      add_products(lanes, queries[h], key, n);
      scores[h][i] = tree_sum(lanes) * scale;
    }
  }
}

/// out[h] += Σ weights[h][i]·values[i], i ascending.
inline void add_values(const Sight& s, const float (&weights)[most_heads][CachedParts::chunk],
                       float* const (&out)[most_heads]) {
  constexpr std::int64_t step = 4;
  const std::int64_t n = s.args.shape.head_dim;
  float space[step][block];
  for (std::int64_t i = 0; i < s.count; i += step) {
    const std::int64_t rows = std::min(step, s.count - i);
    const float* v[step];
    for (std::int64_t k = 0; k < step; ++k) {
      const std::int64_t row = i + std::min(k, rows - 1);  // behind the end: weighs nothing
      v[k] = k < rows ? widen(s.args.cache.values, s.start() + row * s.stride, n, space[k]) : v[0];
    }
    for (std::int64_t h = 0; h < s.heads; ++h) {
      float w[step];
      for (std::int64_t k = 0; k < step; ++k) w[k] = k < rows ? weights[h][i + k] : 0.0f;
      float* to = out[h];
#pragma GCC ivdep
      for (std::int64_t c = 0; c < n; ++c) {
        float sum = to[c];
        for (std::int64_t k = 0; k < step; ++k) sum = ::fmaf(w[k], v[k][c], sum);
        to[c] = sum;
      }
    }
  }
}

void attend(const AttentionCachedArgs& args, std::int64_t row, std::int64_t key_head,
            std::int64_t part) {
  const AttentionShape& shape = args.shape;
  const CachedParts parts(shape, args.positions);
  const std::int64_t group = shape.group();
  for (std::int64_t at = 0; at < group; at += most_heads) {
    const Sight sight(args, row, key_head * group + at, std::min(most_heads, group - at), part);
    if (sight.count <= 0) return;
    float scores[most_heads][CachedParts::chunk];
    float* out[most_heads] = {};
    score_keys(sight, scores);
    for (std::int64_t h = 0; h < sight.heads; ++h) {
      float* own = args.scratch.as<float>() + parts.offset(row, sight.head + h, part);
      const float most = largest(scores[h], sight.count);
#pragma GCC ivdep
      for (std::int64_t i = 0; i < sight.count; ++i) scores[h][i] = exp_f32(scores[h][i] - most);
      Lanes lanes{};
      add_lanes(lanes, scores[h], sight.count);
      own[0] = most;
      own[1] = tree_sum(lanes);
      out[h] = own + CachedParts::header;
      std::memset(out[h], 0, static_cast<std::size_t>(shape.head_dim) * sizeof(float));
    }
    add_values(sight, scores, out);
  }
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
  const std::int64_t chunks = CachedParts(shape, args.positions).chunks, heads = shape.key_heads();
  workers.run(shape.rows() * heads * chunks, [&](std::int64_t index, int) {
    const std::int64_t at = index / chunks;
    HWY_DYNAMIC_DISPATCH(attend)(args, at / heads, at % heads, index % chunks);
  });
  run_chunks(workers, shape.rows() * shape.heads, 64, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(merge_parts)(args, first, count);
  });
}

}  // namespace sherd::kernels::cpu
#endif
