// Compiled once per instruction set: random words by the block.
#if defined(SHERD_KERNELS_CPU_RANDOM_WORDS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef SHERD_KERNELS_CPU_RANDOM_WORDS_INL
#undef SHERD_KERNELS_CPU_RANDOM_WORDS_INL
#else
#define SHERD_KERNELS_CPU_RANDOM_WORDS_INL
#endif

#include <hwy/highway.h>

#include <cstring>

#include "kernels/cpu/blocks.hpp"
#include "sherd/base/philox.hpp"

HWY_BEFORE_NAMESPACE();
namespace sherd::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

inline constexpr std::int64_t word_space = block + 64;  // of random words, whole vectors

#if HWY_TARGET != HWY_SCALAR
/// Blocks [first, first + count) of four words each; writes whole vectors past `count`.
inline void philox_blocks(Philox rng, std::uint64_t first, std::int64_t count, std::uint32_t* out) {
  const hn::ScalableTag<std::uint64_t> d;
  const hn::ScalableTag<std::uint32_t> half;
  const auto low = hn::Set(d, 0xffffffffu);
  const auto m0 = hn::BitCast(half, hn::Set(d, 0xD2511F53u));
  const auto m1 = hn::BitCast(half, hn::Set(d, 0xCD9E8D57u));
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  hn::Vec<decltype(d)> keys[20];
  for (std::uint32_t round = 0; round < 10; ++round) {
    const auto k0 = static_cast<std::uint32_t>(rng.key) + round * 0x9E3779B9u;
    const auto k1 = static_cast<std::uint32_t>(rng.key >> 32) + round * 0xBB67AE85u;
    keys[2 * round] = hn::Set(d, k0);
    keys[2 * round + 1] = hn::Set(d, k1);
  }
  constexpr int step = 2;  // vectors at a time: each alone is one long chain
  auto counter = hn::Iota(d, first);
  for (std::int64_t i = 0; i < count; i += step * lanes) {
    hn::Vec<decltype(d)> c0[step], c1[step], c2[step], c3[step];
    for (int k = 0; k < step; ++k) {
      c0[k] = counter;
      counter = counter + hn::Set(d, static_cast<std::uint64_t>(lanes));
      c1[k] = hn::ShiftRight<32>(c0[k]);
      c2[k] = hn::Set(d, rng.stream & 0xffffffffu);
      c3[k] = hn::Set(d, rng.stream >> 32);
    }
    for (int round = 0; round < 10; ++round) {
      for (int k = 0; k < step; ++k) {
        const auto a = hn::MulEven(hn::BitCast(half, c0[k]), m0);
        const auto b = hn::MulEven(hn::BitCast(half, c2[k]), m1);
        c0[k] = hn::Xor(hn::ShiftRight<32>(b), hn::Xor(c1[k], keys[2 * round]));
        c2[k] = hn::Xor(hn::ShiftRight<32>(a), hn::Xor(c3[k], keys[2 * round + 1]));
        c1[k] = b;
        c3[k] = a;
      }
    }
    for (int k = 0; k < step; ++k) {
      const auto front = hn::Or(hn::And(c0[k], low), hn::ShiftLeft<32>(c1[k]));
      const auto back = hn::Or(hn::And(c2[k], low), hn::ShiftLeft<32>(c3[k]));
      auto* to = reinterpret_cast<std::uint64_t*>(out + 4 * (i + k * lanes));
      hn::StoreInterleaved2(front, back, d, to);
    }
  }
}
#else
inline void philox_blocks(Philox rng, std::uint64_t first, std::int64_t count, std::uint32_t* out) {
  for (std::int64_t i = 0; i < count; ++i) {
    const PhiloxBlock words = philox_block(rng, first + static_cast<std::uint64_t>(i));
    std::memcpy(out + 4 * i, words.data(), sizeof words);
  }
}
#endif

/// The words of elements [first, first + n), n <= block; `space` holds word_space words.
inline const std::uint32_t* random_words(Philox rng, std::uint64_t first, std::int64_t n,
                                         std::uint32_t* space) {
  const auto skip = static_cast<std::int64_t>(first % 4);
  philox_blocks(rng, first / 4, (skip + n + 3) / 4, space);
  return space + skip;
}

}  // namespace sherd::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
