#pragma once
// Packs of eight elements of any float type: fetched whole, widened, rounded back. Loads of several
// operands are in flight together because a fetch does not look at what it loads.
#include "cuda/kernels/half.cuh"
#include "cuda/kernels/launch.hpp"
#include "sherd/base/philox.hpp"
#include "sherd/base/view.hpp"
#include "sherd/kernels/grad.hpp"

namespace sherd::cuda {

/// A view inside a kernel.
struct Operand {
  std::byte* data;
  std::int64_t pitch;
  DType type;
  bool wide;  // whole packs by 16-byte accesses

  Operand() = default;
  explicit Operand(const View& view)
      : data(view.data),
        pitch(view.row_pitch()),
        type(view.type),
        wide(takes_wide_accesses(view)) {}
  __device__ Operand row(std::int64_t index) const {
    Operand at = *this;
    at.data += index * pitch * static_cast<std::int64_t>(size());
    return at;
  }
  __host__ __device__ std::uint32_t size() const { return type == DType::f32 ? 4 : 2; }
};

/// A contiguous view as one row: only where it starts decides how it is accessed.
inline Operand flat(const View& view) { return Operand(view.reshaped({1, view.numel()})); }

/// Are bytes touched again soon, or is this their only use?
enum class Reuse : std::uint8_t { likely, none };

/// Eight elements as they lie in memory; of two bytes in the first four words.
struct Packed {
  std::uint32_t word[pack];
};

__device__ inline void set_words(Packed& packed, int first, uint4 value) {
  packed.word[first] = value.x;
  packed.word[first + 1] = value.y;
  packed.word[first + 2] = value.z;
  packed.word[first + 3] = value.w;
}

template <Reuse reuse = Reuse::likely>
__device__ inline uint4 fetch_wide(const std::byte* from) {
  const auto* at = reinterpret_cast<const uint4*>(from);
  if constexpr (reuse == Reuse::none) return __ldcs(at);
  return *at;
}

/// Elements [at, at + count), count <= 8; what lies behind is zero.
template <Reuse reuse = Reuse::likely>
__device__ inline Packed fetch(const Operand& from, std::int64_t at, int count) {
  Packed packed{};
  const std::byte* start = from.data + at * static_cast<std::int64_t>(from.size());
  if (from.wide && count == pack) {
    set_words(packed, 0, fetch_wide<reuse>(start));
    if (from.type == DType::f32) set_words(packed, 4, fetch_wide<reuse>(start + access_bytes));
    return packed;
  }
#pragma unroll
  for (int i = 0; i < pack; ++i) {
    if (i >= count) continue;
    if (from.type == DType::f32) {
      packed.word[i] = reinterpret_cast<const std::uint32_t*>(start)[i];
    } else {
      const std::uint32_t half = reinterpret_cast<const std::uint16_t*>(start)[i];
      packed.word[i / 2] |= half << (16 * (i % 2));
    }
  }
  return packed;
}

template <Reuse reuse = Reuse::likely>
__device__ inline void put_wide(std::byte* to, const Packed& packed, int first) {
  const uint4 value = make_uint4(packed.word[first], packed.word[first + 1], packed.word[first + 2],
                                 packed.word[first + 3]);
  if constexpr (reuse == Reuse::none) {
    __stcs(reinterpret_cast<uint4*>(to), value);
  } else {
    *reinterpret_cast<uint4*>(to) = value;
  }
}

template <Reuse reuse = Reuse::likely>
__device__ inline void put(const Operand& to, std::int64_t at, int count, const Packed& packed) {
  std::byte* start = to.data + at * static_cast<std::int64_t>(to.size());
  if (to.wide && count == pack) {
    put_wide<reuse>(start, packed, 0);
    if (to.type == DType::f32) put_wide<reuse>(start + access_bytes, packed, 4);
    return;
  }
#pragma unroll
  for (int i = 0; i < pack; ++i) {
    if (i >= count) continue;
    if (to.type == DType::f32) {
      reinterpret_cast<std::uint32_t*>(start)[i] = packed.word[i];
    } else {
      reinterpret_cast<std::uint16_t*>(start)[i] =
          static_cast<std::uint16_t>(packed.word[i / 2] >> (16 * (i % 2)));
    }
  }
}

__device__ inline void widen(const Packed& packed, DType type, float (&to)[pack]) {
#pragma unroll
  for (int i = 0; i < pack; ++i) {
    const std::uint32_t pair = packed.word[i / 2];
    if (type == DType::f32) {
      to[i] = __uint_as_float(packed.word[i]);
    } else if (type == DType::bf16) {
      to[i] = __uint_as_float(i % 2 == 0 ? pair << 16 : pair & 0xffff0000u);
    } else {
      to[i] = widen_half(i % 2 == 0 ? pair : pair >> 16);
    }
  }
}

/// To nearest even.
__device__ inline Packed narrow(const float (&from)[pack], DType type) {
  Packed packed{};
#pragma unroll
  for (int i = 0; i < pack; ++i) {
    if (type == DType::f32) {
      packed.word[i] = __float_as_uint(from[i]);
    } else {
      const std::uint32_t half =
          type == DType::bf16 ? to_bfloat16(from[i]).bits : to_float16(from[i]).bits;
      packed.word[i / 2] |= half << (16 * (i % 2));
    }
  }
  return packed;
}

/// The random words of elements [first, first + 8): of two blocks, or of three.
__device__ inline void random_words(Philox rng, std::uint64_t first, std::uint32_t (&words)[pack]) {
  std::uint32_t drawn[12] = {};
  const auto skip = static_cast<int>(first % 4);
#pragma unroll
  for (int k = 0; k < 3; ++k) {
    if (k == 2 && skip == 0) continue;
    const PhiloxBlock block = philox_block(rng, first / 4 + static_cast<unsigned>(k));
#pragma unroll
    for (int i = 0; i < 4; ++i) drawn[4 * k + i] = block[static_cast<std::size_t>(i)];
  }
#pragma unroll
  for (int i = 0; i < pack; ++i) {  // selects, because registers have no index
    const std::uint32_t even = skip < 2 ? drawn[i] : drawn[i + 2];
    const std::uint32_t odd = skip < 2 ? drawn[i + 1] : drawn[i + 3];
    words[i] = skip % 2 == 0 ? even : odd;
  }
}

/// bf16, rounded stochastically with the words of elements [first, first + 8).
__device__ inline Packed narrow_stochastic(const float (&from)[pack], Philox rng,
                                           std::uint64_t first) {
  std::uint32_t words[pack];
  random_words(rng, first, words);
  Packed packed{};
#pragma unroll
  for (int i = 0; i < pack; ++i) {
    const std::uint32_t half = to_bfloat16_stochastic(from[i], words[i]).bits;
    packed.word[i / 2] |= half << (16 * (i % 2));
  }
  return packed;
}

/// The element of `to` at `index` (=|+=) value, as a gradient.
__device__ inline void store_gradient(const Grad& to, std::int64_t index, float value) {
  if (to.to.type == DType::f32) {
    float* at = reinterpret_cast<float*>(to.to.data) + index;
    *at = to.mode == Write::add ? *at + value : value;
    return;
  }
  bfloat16* at = reinterpret_cast<bfloat16*>(to.to.data) + index;
  const float sum = to.mode == Write::add ? to_float(*at) + value : value;
  const auto element = static_cast<std::uint64_t>(index);
  *at = to_bfloat16_stochastic(sum, philox_u32(to.round, element));
}

}  // namespace sherd::cuda
