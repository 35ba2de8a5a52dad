// Compiled once per instruction set: blocks of 8-bit moments from and to fp32.
#if defined(SHERD_KERNELS_CPU_BLOCK8_ROWS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef SHERD_KERNELS_CPU_BLOCK8_ROWS_INL
#undef SHERD_KERNELS_CPU_BLOCK8_ROWS_INL
#else
#define SHERD_KERNELS_CPU_BLOCK8_ROWS_INL
#endif

#include "kernels/cpu/block-inl.hpp"
#include "sherd/kernels/block8_math.hpp"

HWY_BEFORE_NAMESPACE();
namespace sherd::kernels::cpu::HWY_NAMESPACE {

enum class Moment : std::uint8_t { first, second };

inline const Block8Map& map_of(Moment moment) {
  return moment == Moment::first ? signed8 : unsigned8;
}
inline std::byte* block_at(const View& q8, std::int64_t at) {
  return q8.data + bytes_of(DType::q8, static_cast<std::uint64_t>(at));
}

inline std::uint32_t largest_bits(const float* x) {
  std::uint32_t most = 0;
  for (std::int64_t i = 0; i < block; ++i) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(x[i]) & 0x7fffffffu;
    most = bits > most ? bits : most;
  }
  return most;
}

template <Moment moment>
inline void encode_elements(const float* x, float inverse, std::uint8_t* codes) {
  const Block8Map& map = map_of(moment);
  for (std::int64_t i = 0; i < block; ++i) {
    codes[i] =
        moment == Moment::first ? encode_m(x[i], inverse, map) : encode_v(x[i], inverse, map);
  }
}
template <Moment moment>
inline void decode_elements(const std::uint8_t* codes, float scale, float* x) {
  const Block8Map& map = map_of(moment);
  for (std::int64_t i = 0; i < block; ++i) {
    x[i] =
        moment == Moment::first ? decode_m(codes[i], scale, map) : decode_v(codes[i], scale, map);
  }
}

#if HWY_TARGET != HWY_SCALAR
/// Eight entries in every eight lanes: a look-up is one permutation.
inline Vector in_lanes(const float (&table)[8]) {
  alignas(64) float space[wide < 8 ? 8 : wide];
  for (std::int64_t i = 0; i < std::max<std::int64_t>(wide, 8); ++i) space[i] = table[i % 8];
  return hn::Load(fd, space);
}
/// In a register: x86 looks a table up more slowly in memory, where compilers like to leave it.
HWY_API void keep(Vector& table) {
#if HWY_ARCH_X86 && HWY_COMPILER_GCC
  asm("" : "+x"(table.raw));
#endif
}
inline constexpr bool checks_indices = HWY_ARCH_X86 == 0 || HWY_IS_DEBUG_BUILD != 0;
/// By the low three bits of an index, which is all that x86 looks at.
template <class Index>
HWY_API Vector look_up(Vector table, Index index) {
  if constexpr (checks_indices) index = hn::And(index, hn::Set(hn::DFromV<Index>(), 7));
  return hn::TableLookupLanes(table, hn::IndicesFromVec(fd, index));
}

using Signed = hn::Vec<hn::RebindToSigned<decltype(fd)>>;

/// As the formulas, in the same order.
template <Moment moment>
struct Encoder {
  Vector slopes = in_lanes(map_of(moment).slope), bases = in_lanes(map_of(moment).base);
  Vector factor;
  explicit Encoder(float inverse) : factor(hn::Set(fd, inverse)) {}

  /// Codes in the low bytes of words, of a few vectors in step: each alone is one long chain.
  template <int count>
  HWY_INLINE void operator()(const float* x, Signed (&codes)[count]) {
    const Block8Map& map = map_of(moment);
    constexpr bool first = moment == Moment::first;
    const hn::RebindToSigned<decltype(fd)> di;
    Vector value[count], u[count], piece[count], base[count];
    keep(slopes);
    keep(bases);
    for (int k = 0; k < count; ++k) value[k] = hn::LoadU(fd, x + k * wide);
    for (int k = 0; k < count; ++k) u[k] = value[k] * factor;
    if constexpr (first) {
      for (int k = 0; k < count; ++k) value[k] = hn::Max(u[k], hn::Set(fd, block8_lowest));
      for (int k = 0; k < count; ++k) u[k] = hn::Abs(value[k]);
    }
    for (int k = 0; k < count; ++k) u[k] = hn::Max(u[k], hn::Set(fd, map.least));
    for (int k = 0; k < count; ++k) piece[k] = hn::ConvertTo(fd, hn::BitCast(di, u[k]));
    for (int k = 0; k < count; ++k)
      piece[k] = hn::MulAdd(piece[k], hn::Set(fd, map.log_slope), hn::Set(fd, map.log_base));
    for (int k = 0; k < count; ++k) base[k] = look_up(bases, hn::BitCast(di, piece[k]));
    for (int k = 0; k < count; ++k) piece[k] = look_up(slopes, hn::BitCast(di, piece[k]));
    for (int k = 0; k < count; ++k) u[k] = hn::MulAdd(u[k], piece[k], base[k]);
    for (int k = 0; k < count; ++k)
      base[k] = hn::MulAdd(base[k], hn::Set(fd, 1.6875f), hn::Set(fd, map.bend));
    for (int k = 0; k < count; ++k) base[k] = hn::MulAdd(u[k], hn::Set(fd, 0.25f), base[k]);
    for (int k = 0; k < count; ++k) u[k] = hn::Min(u[k], base[k]);
    for (int k = 0; k < count; ++k)
      u[k] = first ? hn::Or(u[k], hn::And(value[k], hn::SignBit(fd)))
                   : hn::IfThenElseZero(value[k] > hn::Zero(fd), u[k]);
    for (int k = 0; k < count; ++k) codes[k] = hn::BitCast(di, u[k] + hn::Set(fd, block8_magic));
  }
};
template <Moment moment>
HWY_NOINLINE inline void encode_vectors(const float* x, float inverse, std::uint8_t* codes) {
  Encoder<moment> encode(inverse);
#if HWY_TARGET == HWY_AVX2
  const __m256i low = _mm256_set1_epi32(255), order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  for (std::int64_t i = 0; i < block; i += 4 * wide) {
    Signed part[4];
    encode(x + i, part);
    for (Signed& one : part) one.raw = _mm256_and_si256(one.raw, low);
    const auto first = _mm256_packus_epi32(part[0].raw, part[1].raw);
    const auto second = _mm256_packus_epi32(part[2].raw, part[3].raw);
    const auto all = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(first, second), order);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + i), all);
  }
#else
  const hn::RebindToSigned<decltype(fd)> di;
  alignas(64) std::int32_t words[block];
  for (std::int64_t i = 0; i < block; i += wide) {
    Signed part[1];
    encode(x + i, part);
    hn::Store(part[0], di, words + i);
  }
#pragma GCC ivdep
  for (std::int64_t i = 0; i < block; ++i)  // packs better than one vector at a time does
    codes[i] = static_cast<std::uint8_t>(words[i]);
#endif
}
template <Moment moment>
struct Decoder {
  using Code = std::conditional_t<moment == Moment::first, std::int8_t, std::uint8_t>;
  Vector slopes = in_lanes(map_of(moment).value_slope), bases = in_lanes(map_of(moment).value_base);
  Vector factor;
  explicit Decoder(float scale) : factor(hn::Set(fd, scale)) {}

  HWY_INLINE Vector operator()(const std::uint8_t* codes) {
    keep(slopes);
    keep(bases);
    const hn::RebindToSigned<decltype(fd)> di;
    const hn::Rebind<Code, decltype(fd)> bytes;
    const auto code = hn::PromoteTo(di, hn::LoadU(bytes, reinterpret_cast<const Code*>(codes)));
    const auto number = hn::ConvertTo(fd, code + (moment == Moment::first ? code : hn::Set(di, 1)));
    const auto exponent = hn::ShiftRight<23>(hn::BitCast(di, number));
    auto base = look_up(bases, exponent);
    if constexpr (moment == Moment::first) base = hn::Xor(base, hn::And(number, hn::SignBit(fd)));
    return hn::MulAdd(number, look_up(slopes, exponent), base) * factor;
  }
};
template <Moment moment>
HWY_NOINLINE inline void decode_vectors(const std::uint8_t* codes, float scale, float* x) {
  Decoder<moment> decode(scale);
  for (std::int64_t i = 0; i < block; i += wide) hn::StoreU(decode(codes + i), fd, x + i);
}
inline constexpr bool permutes = wide >= 8;
#else
inline constexpr bool permutes = false;
#endif

inline float scale_of(const std::byte* q8_block) {
  float scale;
  std::memcpy(&scale, q8_block + q8_elements, sizeof scale);
  return scale;
}

/// A whole block at a time; `largest`: its largest_bits.
template <Moment moment>
inline void encode_block(const float* x, std::uint32_t largest, std::byte* to) {
  const float scale = block8_scale(largest), inverse = block8_inverse(scale);
  auto* codes = reinterpret_cast<std::uint8_t*>(to);
  std::memcpy(to + q8_elements, &scale, sizeof scale);
  if (!(scale > 0.0f)) {
    std::memset(codes, 0, q8_elements);
    return;
  }
#if HWY_TARGET != HWY_SCALAR
  if constexpr (permutes) return encode_vectors<moment>(x, inverse, codes);
#endif
  encode_elements<moment>(x, inverse, codes);
}
template <Moment moment>
inline void decode_block(const std::byte* from, float* x) {
  const float scale = scale_of(from);
  const auto* codes = reinterpret_cast<const std::uint8_t*>(from);
#if HWY_TARGET != HWY_SCALAR
  if constexpr (permutes) return decode_vectors<moment>(codes, scale, x);
#endif
  decode_elements<moment>(codes, scale, x);
}

}  // namespace sherd::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
