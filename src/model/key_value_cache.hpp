#pragma once
// Keys and values of a sequence so far, for the attention blocks: keys, then values, in the compute
// type.
#include "model/carver.hpp"
#include "sherd/kernels/attention_cached.hpp"
#include "sherd/model/block.hpp"

namespace sherd::model {

[[nodiscard]] inline kernels::KeyValueCache cut_cache(Carver& carver,
                                                      const kernels::AttentionShape& shape,
                                                      std::int64_t capacity, DType type) {
  const Shape all{shape.sequences * capacity, shape.kv_width()};
  const View keys = carver.take(all, type);
  return {capacity, keys, carver.take(all, type)};
}

[[nodiscard]] inline ExtendNeeds cached_needs(const kernels::AttentionShape& shape,
                                              const ExtendShape& of) {
  Carver count;
  (void)cut_cache(count, shape, of.capacity, of.target.compute);
  return {count.used(), kernels::attention_cached_scratch(shape, of.capacity, of.target)};
}

/// out = attention of the rows of `qkv`, which go to the cache, to all that are there.
inline void attend_cached(const Extend& e, const kernels::AttentionShape& shape, View qkv,
                          View out) {
  Carver carver(e.cache);
  const kernels::KeyValueCache cache = cut_cache(carver, shape, e.capacity, qkv.type);
  kernels::cache_append({shape, qkv, cache, e.first_position}, e.rows.stream);
  kernels::attention_cached(
      {shape, qkv, cache, e.first_position + shape.length, out, e.rows.scratch}, e.rows.stream);
}

}  // namespace sherd::model
