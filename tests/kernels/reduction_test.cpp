#include "sherd/kernels/reduction.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "kernels/array.hpp"
#include "sherd/base/errors.hpp"

using namespace sherd;
using namespace sherd::test;
using kernels::FoldArgs;
using kernels::FoldOrder;
using kernels::NormSum;
using kernels::quantum;

namespace {

float rounded(double x) { return static_cast<float>(x); }

/// What a fold must give at element i, term by term.
float expected(const std::vector<Array>& sources, const Array& before, const FoldArgs& args,
               std::int64_t i) {
  const bool there = args.mode == Write::add;
  float sum = 0;
  bool any = false;
  const auto take = [&](float x) {
    sum = any ? sum + x : x;
    any = true;
  };
  if (there && args.order == FoldOrder::left) take(rounded(before[i]));
  for (const Array& source : sources) take(rounded(source[i]));
  if (there && args.order == FoldOrder::fast) sum = rounded(before[i]) + sum;
  if (args.out.type == DType::f32) return sum;
  if (args.round == nullptr) return to_float(to_bfloat16(sum));
  const auto element = args.first + static_cast<std::uint64_t>(i);
  return to_float(to_bfloat16_stochastic(sum, philox_u32(*args.round, element)));
}

}  // namespace

TEST_CASE("square norm equals an fp64 sum and is one exact number for every cut") {
  for (const DType type : {DType::f32, DType::bf16}) {
    const std::int64_t n = 300 * quantum;
    Array x({1, n}, type, noise(1, 3));
    long double want = 0;
    for (std::int64_t i = 0; i < n; ++i) want += static_cast<long double>(x[i]) * x[i];
    NormSum whole;
    device::Stream one(1);
    kernels::square_norm(x.view(), whole, one);
    CHECK(std::abs(whole.squares.value() / static_cast<double>(want) - 1) < 1e-13);
    for (const int threads : {1, 2, 3}) {
      device::Stream stream(threads);
      NormSum parts;
      for (std::int64_t at = 0; at < n;) {
        const std::int64_t count = std::min(n - at, (1 + at / quantum % 97) * quantum);
        View part = x.view();
        part.data += static_cast<Bytes>(at) * size_of(type);
        part.shape.cols = count;
        kernels::square_norm(part, parts, stream);
        at += count;
      }
      CHECK(parts.squares.limb == whole.squares.limb);
      CHECK(parts.nonfinite == 0);
    }
  }
}

TEST_CASE("square norm counts elements that are not finite and leaves their quantum out") {
  device::Stream stream(2);
  for (const DType type : {DType::f32, DType::bf16}) {
    Array x({1, 100 * quantum}, type, [](std::int64_t) { return 1.0; });
    x.set(5, HUGE_VAL);
    x.set(6, -HUGE_VAL);
    x.set(99 * quantum + 255, std::nan(""));
    NormSum sum;
    kernels::square_norm(x.view(), sum, stream);
    CHECK(sum.nonfinite == 3);
    CHECK(sum.squares.value() == 98 * 256);
  }
}

TEST_CASE("square norm takes the largest and the smallest fp32 without loss") {
  device::Stream stream(1);
  Array x({1, quantum}, DType::f32, [](std::int64_t) { return 0.0; });
  const double most = std::ldexp(static_cast<double>(0xffffff), 104);
  x.set(0, most);
  NormSum sum;
  kernels::square_norm(x.view(), sum, stream);
  CHECK(sum.squares.value() == most * most);
  x.set(0, 0x1p-149);
  NormSum small;
  kernels::square_norm(x.view(), small, stream);
  CHECK(small.squares.value() == 0x1p-298);
}

TEST_CASE("fold adds sources in rank order for every type, order, mode and size") {
  device::Stream stream(1);
  const Philox bits = philox(1, Purpose::gradient_rounding, {1});
  for (const DType type : {DType::f32, DType::bf16}) {
    for (const std::int64_t n : {0, 1, 255, 257, 2048, 5003}) {
      for (const std::size_t world : {1u, 2u, 3u, 5u}) {
        std::vector<Array> sources;
        std::vector<const std::byte*> at;
        for (std::size_t r = 0; r < world; ++r) sources.emplace_back(Shape{1, n}, type, noise(r));
        for (Array& source : sources) at.push_back(source.view().data);
        for (const FoldOrder order : {FoldOrder::fast, FoldOrder::left}) {
          for (const Write mode : {Write::set, Write::add}) {
            for (const Philox* round : {static_cast<const Philox*>(nullptr), &bits}) {
              if (round != nullptr && type == DType::f32) continue;
              Array out({1, n}, type, noise(99));
              const Array before = out;
              const FoldArgs args{at, out.view(), mode, order, round, 12345};
              kernels::fold(args, stream);
              bool good = out.guarded();
              for (std::int64_t i = 0; i < n; ++i) {
                good = good && rounded(out[i]) == expected(sources, before, args, i);
              }
              CHECK(good);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("fold may write over any one of its sources") {
  device::Stream stream(1);
  for (const DType type : {DType::f32, DType::bf16}) {
    for (std::size_t own = 0; own < 3; ++own) {
      std::vector<Array> sources;
      std::vector<const std::byte*> at;
      for (std::size_t r = 0; r < 3; ++r) sources.emplace_back(Shape{1, 5003}, type, noise(r));
      for (Array& source : sources) at.push_back(source.view().data);
      Array apart({1, 5003}, type);
      kernels::fold({.sources = at, .out = apart.view()}, stream);
      kernels::fold({.sources = at, .out = sources[own].view()}, stream);
      CHECK(sources[own] == apart);
    }
  }
}

TEST_CASE("fold adds integers exactly") {
  device::Stream stream(1);
  std::vector<Array> sources;
  std::vector<const std::byte*> at;
  for (std::size_t r = 0; r < 3; ++r)
    sources.emplace_back(Shape{1, 301}, DType::i64,
                         [=](std::int64_t i) { return noise(r, 1e15)(i); });
  for (Array& source : sources) at.push_back(source.view().data);
  for (const Write mode : {Write::set, Write::add}) {
    Array out({1, 301}, DType::i64, [](std::int64_t i) { return static_cast<double>(i); });
    kernels::fold({.sources = at, .out = out.view(), .mode = mode}, stream);
    for (std::int64_t i = 0; i < 301; ++i) {
      std::int64_t want = mode == Write::add ? i : 0;
      for (Array& source : sources) want += source.view().as<std::int64_t>()[i];
      REQUIRE(out.view().as<std::int64_t>()[i] == want);
    }
  }
}

TEST_CASE("reductions refuse parts of a quantum, other types and no sources") {
  device::Stream stream(1);
  Array x({1, 300}, DType::f32, noise(1)), h({1, 256}, DType::f16, noise(1));
  NormSum sum;
  CHECK_THROWS_AS(kernels::square_norm(x.view(), sum, stream), UsageError);
  CHECK_THROWS_AS(kernels::square_norm(h.view(), sum, stream), UsageError);
  CHECK_THROWS_AS(kernels::fold({.sources = {}, .out = x.view()}, stream), UsageError);
}
