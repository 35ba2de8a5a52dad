#pragma once
// Packs of an optimizer's state in each of its formats, as fp32 in registers. Of q8, a warp holds a
// block.
#include "cuda/kernels/access.cuh"
#include "sherd/kernels/block8_math.hpp"

namespace sherd::cuda {

struct Block8Maps {
  kernels::Block8Map first = kernels::signed8, second = kernels::unsigned8;
};

/// A pack of a moment as it lies in memory.
struct RawMoment {
  Packed packed{};
  float scale = 0;
};

__device__ inline std::byte* block_of(const Operand& q8, std::int64_t at) {
  constexpr auto elements = static_cast<std::int64_t>(q8_elements);
  return q8.data + at / elements * static_cast<std::int64_t>(q8_bytes);
}

template <DType type>
__device__ inline RawMoment fetch_moment(const Operand& from, std::int64_t at, int count) {
  RawMoment raw;
  if (from.data == nullptr) return raw;
  if constexpr (type == DType::q8) {
    const std::byte* block = block_of(from, at);
    const auto* codes =
        reinterpret_cast<const std::uint32_t*>(block + at % std::int64_t{q8_elements});
    raw.packed.word[0] = __ldcs(codes);
    raw.packed.word[1] = __ldcs(codes + 1);
    raw.scale = __ldcs(reinterpret_cast<const float*>(block + q8_elements));
  } else {
    raw.packed = fetch<Reuse::none>(from, at, count);
  }
  return raw;
}

/// decode(code, scale) -> fp32; of q8 alone.
template <DType type, class Decode>
__device__ inline void open_moment(const RawMoment& raw, const Decode& decode, float (&to)[pack]) {
  if constexpr (type == DType::q8) {
#pragma unroll
    for (int i = 0; i < pack; ++i) {
      const std::uint32_t code = raw.packed.word[i / 4] >> (8 * (i % 4));
      to[i] = decode(static_cast<std::uint8_t>(code), raw.scale);
    }
  } else {
    widen(raw.packed, type, to);
  }
}

/// Over a whole warp.
__device__ inline std::uint32_t largest_bits(const float (&x)[pack]) {
  std::uint32_t most = 0;
#pragma unroll
  for (int i = 0; i < pack; ++i) {
    const std::uint32_t bits = __float_as_uint(x[i]) & 0x7fffffffu;
    most = bits > most ? bits : most;
  }
  for (unsigned width = warp / 2; width > 0; width /= 2) {
    const std::uint32_t other = __shfl_xor_sync(0xffffffffu, most, width);
    most = other > most ? other : most;
  }
  return most;
}

/// A moment's block by the warp that holds it; encode(value, inverse) -> code.
template <class Encode>
__device__ inline void put_block(const Operand& to, std::int64_t at, const float (&x)[pack],
                                 const Encode& encode) {
  const float scale = kernels::block8_scale(largest_bits(x));
  const float inverse = kernels::block8_inverse(scale);
  std::uint32_t words[2] = {};
#pragma unroll
  for (int i = 0; i < pack; ++i) {
    const std::uint32_t code = scale > 0.0f ? encode(x[i], inverse) : 0u;
    words[i / 4] |= code << (8 * (i % 4));
  }
  std::byte* block = block_of(to, at);
  const std::int64_t inside = at % std::int64_t{q8_elements};
  auto* codes = reinterpret_cast<std::uint32_t*>(block + inside);
  __stcs(codes, words[0]);
  __stcs(codes + 1, words[1]);
  if (inside == 0) __stcs(reinterpret_cast<float*>(block + q8_elements), scale);
}

/// The rounding bits of elements [first, first + 8), two in a word: of one block, or of two.
__device__ inline void moment_bits(Philox rng, std::uint64_t first,
                                   std::uint32_t (&bits)[pack / 2]) {
  std::uint32_t drawn[8] = {};
  const auto skip = static_cast<unsigned>(first % 8);
#pragma unroll
  for (unsigned k = 0; k < 2; ++k) {
    if (k == 1 && skip == 0) continue;
    const PhiloxBlock block = philox_block(rng, first / 8 + k);
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) drawn[4 * k + i] = block[i];
  }
#pragma unroll
  for (unsigned width = 2; width > 0; width /= 2) {  // selects, because registers have no index
#pragma unroll
    for (unsigned i = 0; i + width < 8; ++i)
      drawn[i] = (skip / 2 & width) != 0 ? drawn[i + width] : drawn[i];
  }
#pragma unroll
  for (unsigned i = 0; i < 4; ++i) {
    const std::uint64_t both = static_cast<std::uint64_t>(drawn[i + 1]) << 32 | drawn[i];
    bits[i] = static_cast<std::uint32_t>(both >> skip % 2 * 16);
  }
}

/// bf16, rounded by bits_of(half) of the element's half of a word.
template <class Bits>
__device__ inline Packed narrow_by(const float (&from)[pack],
                                   const std::uint32_t (&halves)[pack / 2], const Bits& bits_of) {
  Packed packed{};
#pragma unroll
  for (int i = 0; i < pack; ++i) {
    const std::uint32_t bits = bits_of(halves[i / 2] >> (16 * (i % 2)) & 0xffffu);
    const std::uint32_t half = to_bfloat16_stochastic(from[i], bits).bits;
    packed.word[i / 2] |= half << (16 * (i % 2));
  }
  return packed;
}

/// A stored parameter: bf16 with ties away from zero, fp16 to nearest even.
__device__ inline Packed narrow_stored(const float (&p)[pack], DType type) {
  if (type == DType::f16) return narrow(p, DType::f16);
  Packed packed{};
#pragma unroll
  for (int i = 0; i < pack; ++i) {
    const std::uint32_t half = to_stored_bfloat16(p[i]).bits;
    packed.word[i / 2] |= half << (16 * (i % 2));
  }
  return packed;
}
__device__ inline Packed remainders(const float (&p)[pack]) {
  Packed packed{};
#pragma unroll
  for (int i = 0; i < pack; ++i) {
    const std::uint32_t half = remainder_of(p[i]);
    packed.word[i / 2] |= half << (16 * (i % 2));
  }
  return packed;
}
__device__ inline void join(const Packed& stored, const Packed& remainder, float (&p)[pack]) {
#pragma unroll
  for (int i = 0; i < pack; ++i) {
    const int low = 16 * (i % 2);
    p[i] = joined(bfloat16{static_cast<std::uint16_t>(stored.word[i / 2] >> low)},
                  static_cast<std::uint16_t>(remainder.word[i / 2] >> low));
  }
}

}  // namespace sherd::cuda
