#include "sherd/kernels/attention_cached.hpp"

#include <doctest/doctest.h>

#include <algorithm>

#include "kernels/array.hpp"
#include "kernels/attention_reference.hpp"
#include "sherd/base/errors.hpp"

using namespace sherd;
using namespace sherd::test;
using kernels::AttentionShape;

namespace {

/// Sequences of `shape.length` rows, fed to the cache `step` rows at a time.
struct Decode {
  Decode(const AttentionShape& s, DType type, DType cached, std::int64_t capacity_of)
      : shape(s),
        capacity(capacity_of),
        qkv({s.rows(), s.qkv_width()}, type, noise(1, 2)),
        out({s.rows(), s.width()}, type),
        keys({s.sequences * capacity_of, s.kv_width()}, cached, noise(2)),
        values({s.sequences * capacity_of, s.kv_width()}, cached, noise(3)) {}

  [[nodiscard]] kernels::KeyValueCache cache() { return {capacity, keys.view(), values.view()}; }
  // Rows [first, first + count) of every sequence, and back.
  [[nodiscard]] Array cut(Array& from, std::int64_t first, std::int64_t count, DType type) const {
    const std::int64_t cols = from.view().shape.cols;
    return {{shape.sequences * count, cols}, type, [&, cols](std::int64_t i) {
              const std::int64_t row = i / cols;
              return from[(row / count * shape.length + first + row % count) * cols + i % cols];
            }};
  }
  void run(int threads, std::int64_t step) {
    device::Stream stream(threads);
    for (std::int64_t at = 0; at < shape.length; at += step) {
      AttentionShape part = shape;
      part.length = std::min(step, shape.length - at);
      Array rows = cut(qkv, at, part.length, qkv.view().type);
      Array got = cut(out, at, part.length, out.view().type);
      Array space = scratch(kernels::attention_cached_scratch(part, capacity, {}));
      kernels::cache_append({part, rows.view(), cache(), at}, stream);
      kernels::attention_cached(
          {part, rows.view(), cache(), at + part.length, got.view(), space.view()}, stream);
      good = good && got.guarded() && space.guarded() && keys.guarded() && values.guarded();
      const std::int64_t cols = shape.width();
      for (std::int64_t i = 0; i < got.numel(); ++i) {
        const std::int64_t row = i / cols, sequence = row / part.length;
        out.set((sequence * shape.length + at + row % part.length) * cols + i % cols, got[i]);
      }
    }
  }
  [[nodiscard]] double worst() {
    Matrix in, want, lse;
    for (std::int64_t i = 0; i < qkv.numel(); ++i) in.push_back(qkv[i]);
    AttentionReference{shape, in}.forward(want, lse);
    double most = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
      const double off = std::abs(out[static_cast<std::int64_t>(i)] - want[i]);
      if (!(off <= most)) most = std::isnan(off) ? 1e9 : off;
    }
    return most;
  }

  AttentionShape shape;
  std::int64_t capacity;
  Array qkv, out, keys, values;
  bool good = true;
};

constexpr AttentionShape shapes[] = {{1, 1, 1, 1},       {2, 33, 3, 24},    {3, 7, 6, 8, 2},
                                     {1, 20, 14, 64, 2}, {2, 9, 20, 16, 1}, {1, 5, 2, 256}};

}  // namespace

TEST_CASE("cached attention, row by row, agrees with the definition in fp64") {
  for (const AttentionShape& shape : shapes) {
    for (const DType type : float_types) {
      Decode decode(shape, type, type, shape.length + 3);
      decode.run(2, 1);
      CAPTURE(shape.length);
      CAPTURE(shape.head_dim);
      CAPTURE(name_of(type));
      CHECK(decode.worst() < 1e-5 + 4 * (type == DType::f32 ? 0 : half_ulp(type)));
      CHECK(decode.good);
    }
  }
}

TEST_CASE("cached attention over several chunks of keys agrees with the definition in fp64") {
  for (const std::int64_t step : {300, 256, 97}) {
    Decode decode({2, 600, 4, 8, 2}, DType::f32, DType::f32, 700);
    decode.run(2, step);
    CHECK(decode.worst() < 2e-5);
    CHECK(decode.good);
  }
}

TEST_CASE("cached attention gives a row the same bits whatever rows come with it") {
  Decode one({2, 270, 6, 20, 3}, DType::bf16, DType::bf16, 400);
  one.run(1, 1);
  for (const std::int64_t step : {3, 270}) {
    for (const int threads : {2, 3}) {
      Decode more({2, 270, 6, 20, 3}, DType::bf16, DType::bf16, 300);
      more.run(threads, step);
      CHECK(one.out == more.out);
    }
  }
}

TEST_CASE("a cache of 16-bit keys and values serves fp32 rows to within its rounding") {
  for (const DType cached : {DType::bf16, DType::f16}) {
    Decode decode({1, 40, 4, 16, 2}, DType::f32, cached, 40);
    decode.run(1, 1);
    CHECK(decode.worst() < 8 * half_ulp(cached));
    CHECK(decode.worst() > 1e-6);
  }
}

TEST_CASE("rows behind the cached positions are neither read nor written") {
  Decode decode({2, 5, 2, 4}, DType::f32, DType::f32, 9);
  const Array before = decode.keys;
  for (std::int64_t row = 5; row < 9; ++row) {
    for (std::int64_t c = 0; c < 8; ++c) {
      decode.keys.set((9 + row) * 8 + c, NAN);
      decode.values.set((9 + row) * 8 + c, NAN);
    }
  }
  decode.run(1, 2);
  CHECK(decode.worst() < 1e-5);
  for (std::int64_t i = 5 * 8; i < 9 * 8; ++i) CHECK(decode.keys[i] == before[i]);
}

TEST_CASE("cached attention spreads a broken key or value instead of hiding it") {
  for (const bool key : {true, false}) {
    Decode decode({1, 4, 2, 4}, DType::f32, DType::f32, 4);
    decode.qkv.set(2 * 24 + (key ? 8 : 16), NAN);  // row 2 of head 0
    decode.run(1, 1);
    CHECK(std::isnan(decode.out[3 * 8]));
    CHECK(std::isfinite(decode.out[1 * 8]));
    CHECK(std::isfinite(decode.out[3 * 8 + 4]));
  }
}

TEST_CASE("cached attention refuses positions, caches and scratch that do not fit") {
  device::Stream stream(1);
  Decode d({2, 3, 4, 8, 2}, DType::f32, DType::f32, 6);
  Array space = scratch(kernels::attention_cached_scratch(d.shape, 6, {}));
  Array tiny({1, 1}, DType::f32);
  using Args = kernels::AttentionCachedArgs;
  const Args good{d.shape, d.qkv.view(), d.cache(), 3, d.out.view(), space.view()};
  kernels::attention_cached(good, stream);
  Args bad = good;
  bad.positions = 2;
  CHECK_THROWS_AS(kernels::attention_cached(bad, stream), UsageError);
  bad.positions = 7;
  CHECK_THROWS_AS(kernels::attention_cached(bad, stream), UsageError);
  bad = good;
  bad.cache.capacity = 5;
  CHECK_THROWS_AS(kernels::attention_cached(bad, stream), UsageError);
  bad = good;
  bad.shape.kv_heads = 3;
  CHECK_THROWS_AS(kernels::attention_cached(bad, stream), UsageError);
  bad = good;
  bad.scratch = tiny.view();
  CHECK_THROWS_AS(kernels::attention_cached(bad, stream), UsageError);
  CHECK_THROWS_AS(kernels::cache_append({d.shape, d.qkv.view(), d.cache(), 4}, stream), UsageError);
  CHECK_THROWS_AS(kernels::cache_append({d.shape, d.out.view(), d.cache(), 0}, stream), UsageError);
}
