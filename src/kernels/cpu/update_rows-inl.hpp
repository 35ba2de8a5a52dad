// Compiled once per instruction set: an optimizer's state in each of its formats, as fp32 windows
// of one block.
#if defined(SHERD_KERNELS_CPU_UPDATE_ROWS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef SHERD_KERNELS_CPU_UPDATE_ROWS_INL
#undef SHERD_KERNELS_CPU_UPDATE_ROWS_INL
#else
#define SHERD_KERNELS_CPU_UPDATE_ROWS_INL
#endif

#include "kernels/cpu/block8_rows-inl.hpp"
#include "sherd/kernels/update_math.hpp"

HWY_BEFORE_NAMESPACE();
namespace sherd::kernels::cpu::HWY_NAMESPACE {

// --- master weights ---------------------------------------------------------------------------

/// The stored bf16 parameter, ties away from zero.
HWY_NOINLINE inline void store_row(const float* in, bfloat16* out, std::int64_t n) {
  std::int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (; i + lanes <= n; i += lanes) {
    const auto x = hn::LoadU(d, in + i);
    const auto rounded = hn::BitCast(d, hn::BitCast(du, x) + hn::Set(du, 0x8000u));
    store_high_half(d, rounded, x, hn::RebindMask(du, hn::IsNaN(x)), out + i);
  }
#endif
  for (; i < n; ++i) out[i] = to_stored_bfloat16(in[i]);
}
HWY_NOINLINE inline void remainder_row(const float* in, std::uint16_t* out, std::int64_t n) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < n; ++i) out[i] = remainder_of(in[i]);
}
HWY_NOINLINE inline void join_row(const bfloat16* high, const std::uint16_t* low, float* out,
                                  std::int64_t n) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < n; ++i) out[i] = joined(high[i], low[i]);
}
/// Elements [at, at + n) of a 16-bit parameter.
inline void store_param(const float* p, const View& param, std::int64_t at, std::int64_t n) {
  if (param.type == DType::bf16) return store_row(p, param.as<bfloat16>() + at, n);
  narrow_row(p, param.as<float16>() + at, n);
}

// --- bf16 moments ------------------------------------------------------------------------------

/// The bits of elements [first, first + n), n <= block; `space` holds word_space words.
inline const std::uint16_t* moment_bits(Philox rng, std::uint64_t first, std::int64_t n,
                                        std::uint16_t* space) {
  const auto skip = static_cast<std::int64_t>(first % 8);
  philox_blocks(rng, first / 8, (skip + n + 7) / 8, reinterpret_cast<std::uint32_t*>(space));
  return space + skip;
}

#if HWY_TARGET != HWY_SCALAR
inline constexpr hn::RebindToUnsigned<decltype(fd)> ud;
inline constexpr hn::Rebind<std::uint16_t, decltype(fd)> hd;

using Words = hn::Vec<decltype(ud)>;

/// The upper halves of `rounded`, sign extended; of x where that is NaN, quiet.
HWY_API auto high_half(Words rounded, Vector x) {
  const hn::RebindToSigned<decltype(fd)> di;
  const auto keep = hn::Or(hn::BitCast(ud, x), hn::Set(ud, 0x00400000u));
  const auto bits = hn::IfThenElse(hn::RebindMask(ud, hn::IsNaN(x)), keep, rounded);
  return hn::ShiftRight<16>(hn::BitCast(di, bits));
}
enum class Reuse : std::uint8_t { some, none };

/// Halves of two vectors; where nothing reads them soon, past the caches: `out` is then aligned.
template <Reuse reuse, class Half>
HWY_API void store_halves(Half low, Half high, std::uint16_t* out) {
#if HWY_TARGET == HWY_AVX2
  const auto quads = _mm256_packs_epi32(low.raw, high.raw);  // by lanes of 128 bits
  const hn::Vec256<std::uint16_t> both{_mm256_permute4x64_epi64(quads, 0xd8)};
  const hn::Full256<std::uint16_t> d;
  if constexpr (reuse == Reuse::none) return hn::Stream(both, d, out);
  hn::StoreU(both, d, out);
#else
  const hn::Rebind<std::int16_t, decltype(fd)> half;
  auto* to = reinterpret_cast<std::int16_t*>(out);
  if constexpr (reuse == Reuse::none) {
    hn::Stream(hn::DemoteTo(half, low), half, to);
    return hn::Stream(hn::DemoteTo(half, high), half, to + wide);
  }
  hn::StoreU(hn::DemoteTo(half, low), half, to);
  hn::StoreU(hn::DemoteTo(half, high), half, to + wide);
#endif
}
template <Moment moment>
HWY_API Words rounded_up(Vector x, const std::uint16_t* bits) {
  auto noise = hn::LoadU(hd, bits);
  if constexpr (moment == Moment::second) {
    noise = hn::Or(hn::ShiftLeft<8>(noise), hn::ShiftRight<8>(noise));
  }
  return hn::BitCast(ud, x) + hn::PromoteTo(ud, noise);  // infinity stays
}
#endif

template <Moment moment>
HWY_NOINLINE inline void round_row(const float* in, bfloat16* out, std::int64_t n,
                                   const std::uint16_t* bits) {
  constexpr bool second = moment == Moment::second;
  std::int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  for (; i + 2 * wide <= n; i += 2 * wide) {
    const auto low = hn::LoadU(fd, in + i), high = hn::LoadU(fd, in + i + wide);
    store_halves<Reuse::some>(high_half(rounded_up<moment>(low, bits + i), low),
                              high_half(rounded_up<moment>(high, bits + i + wide), high),
                              reinterpret_cast<std::uint16_t*>(out + i));
  }
#endif
  for (; i < n; ++i)
    out[i] = to_bfloat16_stochastic(in[i], second ? second_moment_bits(bits[i]) : bits[i]);
}

// --- moments ----------------------------------------------------------------------------------

/// As fp32: the view's own memory, or `space` filled; null where there are none.
template <Moment moment>
inline float* open_moment(const View& view, std::int64_t at, std::int64_t n, float* space) {
  if (!view) return nullptr;
  if (view.type == DType::f32) return view.as<float>() + at;
  if (view.type == DType::q8) {
    decode_block<moment>(block_at(view, at), space);
  } else {
    widen_row(view.as<const bfloat16>() + at, space, n);
  }
  return space;
}
/// `bits`: of bf16, of its elements.
template <Moment moment>
inline void close_moment(float* x, const View& view, std::int64_t at, std::int64_t n,
                         const std::uint16_t* bits) {
  if (!view || view.type == DType::f32) return;
  if (view.type == DType::q8) return encode_block<moment>(x, largest_bits(x), block_at(view, at));
  round_row<moment>(x, view.as<bfloat16>() + at, n, bits);
}

}  // namespace sherd::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
