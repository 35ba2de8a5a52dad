// Copy and read-modify-write at the speed of memory.
#include <atomic>
#include <cstring>

#include "sherd/base/errors.hpp"
#include "sherd/bench/bounds.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/stream_bound.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace sherd::bench::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// `one` and `zero` come at run time, so no compiler can drop the sweep.
void sweep_three(float* const* arrays, std::size_t count, float one, float zero) {
  const hn::ScalableTag<float> d;
  const auto factor = hn::Set(d, one), term = hn::Set(d, zero);
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    for (int k = 0; k < 3; ++k) {
      hn::StoreU(hn::MulAdd(hn::LoadU(d, arrays[k] + i), factor, term), d, arrays[k] + i);
    }
  }
  for (; i < count; ++i) {
    for (int k = 0; k < 3; ++k) arrays[k][i] = arrays[k][i] * one + zero;
  }
}

std::uint64_t read_part(const std::byte* from, std::size_t size) {
  const hn::ScalableTag<std::uint64_t> d;
  const std::size_t lanes = hn::Lanes(d), count = size / sizeof(std::uint64_t);
  const auto* words = reinterpret_cast<const std::uint64_t*>(from);
  auto a = hn::Zero(d), b = a, c = a, e = a;
  std::size_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    a = hn::Xor(a, hn::LoadU(d, words + i));
    b = hn::Xor(b, hn::LoadU(d, words + i + lanes));
    c = hn::Xor(c, hn::LoadU(d, words + i + 2 * lanes));
    e = hn::Xor(e, hn::LoadU(d, words + i + 3 * lanes));
  }
  std::uint64_t rest = hn::GetLane(hn::SumOfLanes(d, hn::Xor(hn::Xor(a, b), hn::Xor(c, e))));
  for (; i < count; ++i) rest ^= words[i];
  return rest;
}

}  // namespace sherd::bench::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sherd::bench {
namespace {

HWY_EXPORT(sweep_three);
HWY_EXPORT(read_part);

struct Part {
  std::size_t first, count;
};
Part part_of(std::size_t total, std::int64_t index, int threads) {
  const auto parts = static_cast<std::size_t>(threads), i = static_cast<std::size_t>(index);
  const std::size_t each = round_up(ceil_div(total, parts), 4096);
  const std::size_t first = std::min(total, i * each);
  return {first, std::min(each, total - first)};
}

}  // namespace

void copy_bytes(std::span<const std::byte> from, std::span<std::byte> to, StreamRef stream) {
  expects(from.size() == to.size(), "copy_bytes: got spans of different sizes, need equal ones");
  const int threads = stream.workers().threads();
  stream.workers().run(threads, [&](std::int64_t index, int) {
    const Part part = part_of(from.size(), index, threads);
    if (part.count > 0) std::memcpy(to.data() + part.first, from.data() + part.first, part.count);
  });
}

void copy_portions(std::span<const std::byte> from, std::span<std::byte> to, StreamRef stream) {
  expects(from.size() == to.size(), "copy_portions: got spans of different sizes, need equal ones");
  constexpr Bytes portion = 512 * kib;
  const auto count = static_cast<std::int64_t>(ceil_div(from.size(), portion));
  stream.workers().run(count, [&](std::int64_t index, int) {
    const Bytes first = static_cast<Bytes>(index) * portion;
    std::memcpy(to.data() + first, from.data() + first, std::min(portion, from.size() - first));
  });
}

std::uint64_t read_bytes(std::span<const std::byte> from, StreamRef stream) {
  const int threads = stream.workers().threads();
  std::atomic<std::uint64_t> all{0};
  stream.workers().run(threads, [&](std::int64_t index, int) {
    const Part part = part_of(from.size(), index, threads);
    if (part.count > 0)
      all ^= HWY_DYNAMIC_DISPATCH(read_part)(from.data() + part.first, part.count);
  });
  return all;
}

void touch_three(View a, View b, View c, StreamRef stream) {
  expects(a.numel() == b.numel() && a.numel() == c.numel(),
          "touch_three: got views of different sizes, need equal ones");
  const int threads = stream.workers().threads();
  const volatile float one = 1, zero = 0;
  stream.workers().run(threads, [&](std::int64_t index, int) {
    const Part part = part_of(static_cast<std::size_t>(a.numel()), index, threads);
    float* const arrays[3] = {a.as<float>() + part.first, b.as<float>() + part.first,
                              c.as<float>() + part.first};
    HWY_DYNAMIC_DISPATCH(sweep_three)(arrays, part.count, one, zero);
  });
}

}  // namespace sherd::bench
#endif
