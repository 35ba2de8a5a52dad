// Compiled once per instruction set: fp32 windows on views of any float type, sums in
// a lane order that no instruction set changes.
#if defined(SHERD_KERNELS_CPU_BLOCK_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef SHERD_KERNELS_CPU_BLOCK_INL
#undef SHERD_KERNELS_CPU_BLOCK_INL
#else
#define SHERD_KERNELS_CPU_BLOCK_INL
#endif

#include <hwy/highway.h>

#include <cmath>
#include <cstring>

#include "kernels/cpu/random_words-inl.hpp"
#include "sherd/kernels/grad.hpp"

HWY_BEFORE_NAMESPACE();
namespace sherd::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

inline constexpr bool scalar_target = HWY_TARGET == HWY_SCALAR;

// --- 16-bit floats ----------------------------------------------------------------------------

HWY_NOINLINE inline void widen_row(const bfloat16* in, float* out, std::int64_t n) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < n; ++i) out[i] = to_float(in[i]);
}
HWY_NOINLINE inline void widen_row(const float16* in, float* out, std::int64_t n) {
  std::int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::ScalableTag<float> d;
  const hn::Rebind<hwy::float16_t, decltype(d)> half;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (; i + lanes <= n; i += lanes) {
    const auto x = hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(in + i));
    hn::StoreU(hn::PromoteTo(d, x), d, out + i);
  }
#endif
  for (; i < n; ++i) out[i] = to_float(in[i]);
}

#if HWY_TARGET != HWY_SCALAR
template <class D, class V, class Bits>
HWY_API void store_high_half(D d, V rounded, V x, Bits quiet, bfloat16* out) {
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  const hn::Rebind<std::uint16_t, D> half;
  const auto u = hn::BitCast(du, x);
  const auto keep = hn::Or(u, hn::Set(du, 0x00400000u));  // NaN: quiet, payload cut
  const auto bits = hn::IfThenElse(quiet, keep, hn::BitCast(du, rounded));
  hn::StoreU(hn::DemoteTo(half, hn::BitCast(di, hn::ShiftRight<16>(bits))), half,
             reinterpret_cast<std::uint16_t*>(out));
  (void)d;
}
#endif

/// To nearest even.
HWY_NOINLINE inline void narrow_row(const float* in, bfloat16* out, std::int64_t n) {
  std::int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (; i + lanes <= n; i += lanes) {
    const auto x = hn::LoadU(d, in + i);
    const auto u = hn::BitCast(du, x);
    const auto odd = hn::And(hn::ShiftRight<16>(u), hn::Set(du, 1u));
    const auto rounded = hn::BitCast(d, u + hn::Set(du, 0x7fffu) + odd);
    store_high_half(d, rounded, x, hn::RebindMask(du, hn::IsNaN(x)), out + i);
  }
#endif
  for (; i < n; ++i) out[i] = to_bfloat16(in[i]);
}
/// Stochastically, with the low half of one word an element.
HWY_NOINLINE inline void narrow_row(const float* in, bfloat16* out, std::int64_t n,
                                    const std::uint32_t* words) {
  std::int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto infinity = hn::Set(du, 0x7f800000u);
  for (; i + lanes <= n; i += lanes) {
    const auto x = hn::LoadU(d, in + i);
    const auto u = hn::BitCast(du, x);
    const auto noise = hn::And(hn::LoadU(du, words + i), hn::Set(du, 0xffffu));
    const auto special = hn::Eq(hn::And(u, infinity), infinity);
    const auto rounded = hn::BitCast(d, hn::IfThenElse(special, u, u + noise));
    store_high_half(d, rounded, x, hn::RebindMask(du, hn::IsNaN(x)), out + i);
  }
#endif
  for (; i < n; ++i) out[i] = to_bfloat16_stochastic(in[i], words[i]);
}
HWY_NOINLINE inline void narrow_row(const float* in, float16* out, std::int64_t n) {
  std::int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const hn::Rebind<hwy::float16_t, decltype(d)> half;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (; i + lanes <= n; i += lanes) {
    const auto x = hn::LoadU(d, in + i);
    const auto sign = hn::And(hn::BitCast(du, x), hn::Set(du, 0x80000000u));
    const auto nan = hn::BitCast(d, hn::Or(sign, hn::Set(du, 0x7fc00000u)));
    const auto y = hn::DemoteTo(half, hn::IfThenElse(hn::IsNaN(x), nan, x));
    hn::StoreU(y, half, reinterpret_cast<hwy::float16_t*>(out + i));
  }
#endif
  for (; i < n; ++i) out[i] = to_float16(in[i]);
}

// --- windows on views -------------------------------------------------------------------------

/// Elements [first, first + n) as fp32: the view's own memory, or `space` filled.
inline const float* widen(const View& view, std::int64_t first, std::int64_t n, float* space) {
  if (view.type == DType::f32) return view.as<const float>() + first;
  if (view.type == DType::bf16) {
    widen_row(view.as<const bfloat16>() + first, space, n);
  } else {
    widen_row(view.as<const float16>() + first, space, n);
  }
  return space;
}
/// Where to compute elements [first, …) before `narrow`: the view's own memory, or `space`.
inline float* window(const View& view, std::int64_t first, float* space) {
  return view.type == DType::f32 ? view.as<float>() + first : space;
}
/// Stores what was computed in `window`, or anywhere else.
inline void narrow(const float* from, const View& to, std::int64_t first, std::int64_t n) {
  if (to.type == DType::bf16) {
    narrow_row(from, to.as<bfloat16>() + first, n);
  } else if (to.type == DType::f16) {
    narrow_row(from, to.as<float16>() + first, n);
  } else if (from != to.as<float>() + first) {
    std::memmove(to.as<float>() + first, from, static_cast<std::size_t>(n) * sizeof(float));
  }
}
/// As `narrow`, but bf16 is rounded with the bits of elements `element`, …; n <= block.
inline void narrow_stochastic(const float* from, const View& to, std::int64_t first, std::int64_t n,
                              Philox rng, std::uint64_t element) {
  if (to.type != DType::bf16) return narrow(from, to, first, n);
  std::uint32_t space[word_space];
  narrow_row(from, to.as<bfloat16>() + first, n, random_words(rng, element, n, space));
}
/// to[first + i] (=|+=) values[i], n <= block; values may be changed.
inline void store_grad(float* values, const Grad& grad, std::int64_t first, std::int64_t n) {
  if (grad.mode == Write::add) {
    float space[block];
    const float* there = widen(grad.to, first, n, space);
#pragma GCC ivdep
    for (std::int64_t i = 0; i < n; ++i) values[i] = there[i] + values[i];
  }
  narrow_stochastic(values, grad.to, first, n, grad.round, static_cast<std::uint64_t>(first));
}

// --- sums -------------------------------------------------------------------------------------

/// Sixteen partial results; element i of a row belongs to lane i mod 16.
struct Lanes {
  float at[16];
};
inline float tree_sum(Lanes lanes) {
  for (int width = 8; width > 0; width /= 2) {
    for (int k = 0; k < width; ++k) lanes.at[k] += lanes.at[k + width];
  }
  return lanes.at[0];
}

#if HWY_TARGET != HWY_SCALAR
inline constexpr hn::ScalableTag<float> fd;
inline constexpr std::int64_t wide = HWY_LANES(float);
inline constexpr int parts = 16 / static_cast<int>(wide);
using Vector = hn::Vec<decltype(fd)>;
struct Registers {
  Vector v[parts];
};
HWY_API Registers load(const float* from) {
  Registers r;
  for (int k = 0; k < parts; ++k) r.v[k] = hn::LoadU(fd, from + k * wide);
  return r;
}
HWY_API void store(const Registers& r, float* to) {
  for (int k = 0; k < parts; ++k) hn::StoreU(r.v[k], fd, to + k * wide);
}
#endif

/// lanes += x over n elements that start at lane 0.
inline void add_lanes(Lanes& lanes, const float* x, std::int64_t n) {
  std::int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  Registers sum = load(lanes.at);
  for (; i + 16 <= n; i += 16) {
    for (int k = 0; k < parts; ++k) sum.v[k] = sum.v[k] + hn::LoadU(fd, x + i + k * wide);
  }
  store(sum, lanes.at);
#endif
  for (; i < n; ++i) lanes.at[i % 16] += x[i];
}
/// lanes += a·b, fused.
inline void add_products(Lanes& lanes, const float* a, const float* b, std::int64_t n) {
  std::int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  Registers sum = load(lanes.at);
  for (; i + 16 <= n; i += 16) {
    for (int k = 0; k < parts; ++k) {
      const auto x = hn::LoadU(fd, a + i + k * wide), y = hn::LoadU(fd, b + i + k * wide);
      sum.v[k] = hn::MulAdd(x, y, sum.v[k]);
    }
  }
  store(sum, lanes.at);
#endif
  for (; i < n; ++i) lanes.at[i % 16] = ::fmaf(a[i], b[i], lanes.at[i % 16]);
}
/// The largest element; if one is NaN, any.
inline float largest(const float* x, std::int64_t n) {
  Lanes lanes;
  std::int64_t i = 0;
  for (float& lane : lanes.at) lane = x[0];
#if HWY_TARGET != HWY_SCALAR
  Registers top = load(lanes.at);
  for (; i + 16 <= n; i += 16) {
    for (int k = 0; k < parts; ++k) top.v[k] = hn::Max(top.v[k], hn::LoadU(fd, x + i + k * wide));
  }
  store(top, lanes.at);
#endif
  float best = x[0];
  for (const float lane : lanes.at) best = lane > best ? lane : best;
  for (; i < n; ++i) best = x[i] > best ? x[i] : best;
  return best;
}

}  // namespace sherd::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
