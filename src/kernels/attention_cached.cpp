#include "sherd/kernels/attention_cached.hpp"

#include <string>

#include "kernels/checks.hpp"
#include "kernels/cpu/attention_cached.hpp"
#include "sherd/kernels/attention_cached_layout.hpp"
#include "sherd/kernels/interface.hpp"

namespace sherd::kernels {
namespace {

void check(const std::string& call, const AttentionShape& s, const View& qkv,
           const KeyValueCache& cache) {
  if (s.sequences < 0 || s.length < 1 || s.heads < 1 || s.kv_heads < 0 || s.head_dim < 1 ||
      s.head_dim > largest_cached_head || s.heads % s.key_heads() != 0) {
    throw_usage(call + ": got an empty length, a bad number of heads or heads of " +
                std::to_string(s.head_dim) + " elements, need at least 1 of each, key heads that " +
                "divide the heads, and at most " + std::to_string(largest_cached_head));
  }
  const Shape rows{s.rows(), s.qkv_width()}, cached{s.sequences * cache.capacity, s.kv_width()};
  const bool fits = qkv.shape == rows && cache.keys.shape == cached && cache.values.shape == cached;
  if (!fits || !is_float(qkv) || !is_float(cache.keys) || !is_float(cache.values) ||
      !holds(qkv, qkv.numel()) || !holds(cache.keys, cached.numel()) ||
      !holds(cache.values, cached.numel())) {
    throw_usage(call + ": got rows or a cache of another shape or type, need [sequences·length, " +
                "qkv_width] and twice [sequences·capacity, kv_width] of fp32, bf16 or fp16");
  }
}

}  // namespace

void cache_append(const CacheAppendArgs& args, StreamRef stream) {
  check("cache_append", args.shape, args.qkv, args.cache);
  expects(
      args.first_position >= 0 && args.first_position + args.shape.length <= args.cache.capacity,
      "cache_append: got positions outside the cache, need room for every new row");
  if (on_device(stream)) return twin(stream).cache_append(args, stream);
  cpu::cache_append(args, stream.workers());
}

Bytes attention_cached_scratch(const AttentionShape& shape, std::int64_t capacity,
                               const Target& /*target*/) {
  return static_cast<Bytes>(CachedParts(shape, capacity).floats()) * sizeof(float);
}

void attention_cached(const AttentionCachedArgs& args, StreamRef stream) {
  const AttentionShape& shape = args.shape;
  check("attention_cached", shape, args.qkv, args.cache);
  expects(args.positions >= shape.length && args.positions <= args.cache.capacity,
          "attention_cached: got fewer positions than new rows or more than the cache holds");
  expects(is_float(args.out) && args.out.shape == Shape{shape.rows(), shape.width()} &&
              holds(args.out, args.out.numel()),
          "attention_cached: got out of another shape or type, need [sequences·length, width]");
  expects(
      args.scratch.bytes() >= attention_cached_scratch(shape, args.positions, target_of(stream)),
      "attention_cached: got too little scratch, need attention_cached_scratch bytes");
  if (on_device(stream)) return twin(stream).attention_cached(args, stream);
  cpu::attention_cached(args, stream.workers());
}

}  // namespace sherd::kernels
