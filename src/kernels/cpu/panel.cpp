#include "kernels/cpu/panel.hpp"

#include <algorithm>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/panel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace sherd::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using U32 = hn::RebindToUnsigned<F32>;
using I32 = hn::RebindToSigned<F32>;
using U16 = hn::Rebind<std::uint16_t, F32>;
using VF = hn::Vec<F32>;
using VU = hn::Vec<U32>;

// The loads and stores are the formulas of base/dtype.hpp on whole vectors, bit for bit; the
// library's own demotions truncate, and its emulated fp16 loses infinities.
HWY_INLINE VF load(const float* p) { return hn::LoadU(F32(), p); }
HWY_INLINE VF load(const bfloat16* p) {
  const VU wide = hn::PromoteTo(U32(), hn::LoadU(U16(), reinterpret_cast<const std::uint16_t*>(p)));
  return hn::BitCast(F32(), hn::ShiftLeft<16>(wide));
}
HWY_INLINE VF load(const float16* p) {
  const U32 d;
  const VU half = hn::PromoteTo(d, hn::LoadU(U16(), reinterpret_cast<const std::uint16_t*>(p)));
  const VU magnitude = hn::And(half, hn::Set(d, 0x7fffu));
  const VU exponent = hn::And(half, hn::Set(d, 0x7c00u));
  const VU rebias = hn::Set(d, 112u << 23);
  VU u = hn::Add(hn::ShiftLeft<13>(magnitude), rebias);
  u = hn::IfThenElse(hn::Eq(exponent, hn::Set(d, 0x7c00u)), hn::Add(u, rebias), u);
  const VF small =
      hn::Mul(hn::ConvertTo(F32(), hn::BitCast(I32(), magnitude)), hn::Set(F32(), 0x1p-24f));
  const VU value = hn::IfThenElse(hn::Eq(exponent, hn::Zero(d)), hn::BitCast(d, small), u);
  return hn::BitCast(F32(), hn::Or(value, hn::ShiftLeft<16>(hn::Xor(half, magnitude))));
}

HWY_INLINE void store_half(VU bits, std::uint16_t* p) {
  hn::StoreU(hn::DemoteTo(U16(), hn::BitCast(I32(), bits)), U16(), p);
}
HWY_INLINE void store(VF x, float* p) { hn::StoreU(x, F32(), p); }
HWY_INLINE void store(VF x, bfloat16* p) {
  const U32 d;
  const VU u = hn::BitCast(d, x), top = hn::ShiftRight<16>(u);
  const VU odd = hn::And(top, hn::Set(d, 1u));
  const VU rounded = hn::ShiftRight<16>(hn::Add(u, hn::Add(hn::Set(d, 0x7fffu), odd)));
  const auto nan = hn::RebindMask(d, hn::IsNaN(x));
  store_half(hn::IfThenElse(nan, hn::Or(top, hn::Set(d, 0x40u)), rounded),
             reinterpret_cast<std::uint16_t*>(p));
}
HWY_INLINE void store(VF x, float16* p) {
  const U32 d;
  const VU u = hn::BitCast(d, x), magnitude = hn::And(u, hn::Set(d, 0x7fffffffu));
  const VU rebased = hn::Sub(magnitude, hn::Set(d, 0x38000000u));
  const VU odd = hn::And(hn::ShiftRight<13>(rebased), hn::Set(d, 1u));
  VU bits = hn::ShiftRight<13>(hn::Add(rebased, hn::Add(hn::Set(d, 0xfffu), odd)));
  const VF shifted = hn::Add(hn::BitCast(F32(), magnitude), hn::Set(F32(), 0.5f));
  const I32 s;  // magnitudes fit 31 bits, so signed comparisons order them
  const auto sized = hn::BitCast(s, magnitude);
  const auto tiny = hn::RebindMask(d, hn::Lt(sized, hn::Set(s, 0x38800000)));
  const auto huge = hn::RebindMask(d, hn::Gt(sized, hn::Set(s, 0x477fefff)));
  const auto nan = hn::RebindMask(d, hn::Gt(sized, hn::Set(s, 0x7f800000)));
  bits = hn::IfThenElse(tiny, hn::Sub(hn::BitCast(d, shifted), hn::Set(d, 0x3f000000u)), bits);
  bits = hn::IfThenElse(huge, hn::Set(d, 0x7c00u), bits);
  bits = hn::IfThenElse(nan, hn::Set(d, 0x7e00u), bits);
  const VU sign = hn::And(hn::ShiftRight<16>(u), hn::Set(d, 0x8000u));
  store_half(hn::Or(sign, bits), reinterpret_cast<std::uint16_t*>(p));
}

HWY_INLINE void put(float x, float* p) { *p = x; }
HWY_INLINE void put(float x, bfloat16* p) { *p = to_bfloat16(x); }
HWY_INLINE void put(float x, float16* p) { *p = to_float16(x); }

template <class T>
void WidenAs(Source from, Shape block, float* to, std::int64_t stride) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(F32()));
  for (std::int64_t row = 0; row < block.rows; ++row) {
    const T* in = reinterpret_cast<const T*>(from.at(row, 0).data);
    float* out = to + row * stride;
    std::int64_t i = 0;
    for (; i + lanes <= block.cols; i += lanes) store(load(in + i), out + i);
    for (; i < block.cols; ++i) out[i] = to_float(in[i]);
  }
}
void Widen(Source from, Shape block, float* to, std::int64_t stride) {
  if (from.type == DType::bf16) return WidenAs<bfloat16>(from, block, to, stride);
  if (from.type == DType::f16) return WidenAs<float16>(from, block, to, stride);
  WidenAs<float>(from, block, to, stride);
}

template <class T>
void AddAs(Source from, float* sum, std::int64_t count) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(F32()));
  const T* in = reinterpret_cast<const T*>(from.data);
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) store(hn::Add(load(sum + i), load(in + i)), sum + i);
  for (; i < count; ++i) sum[i] += to_float(in[i]);
}
void AddWidened(Source from, float* sum, std::int64_t count) {
  if (from.type == DType::bf16) return AddAs<bfloat16>(from, sum, count);
  if (from.type == DType::f16) return AddAs<float16>(from, sum, count);
  AddAs<float>(from, sum, count);
}

template <class T>
void NarrowAs(const float* from, std::int64_t stride, Shape block, Sink to) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(F32()));
  for (std::int64_t row = 0; row < block.rows; ++row) {
    const float* in = from + row * stride;
    T* out = reinterpret_cast<T*>(to.at(row, 0).data);
    std::int64_t i = 0;
    for (; i + lanes <= block.cols; i += lanes) store(load(in + i), out + i);
    for (; i < block.cols; ++i) put(in[i], out + i);
  }
}
void Narrow(const float* from, std::int64_t stride, Shape block, Sink to) {
  if (to.type == DType::bf16) return NarrowAs<bfloat16>(from, stride, block, to);
  if (to.type == DType::f16) return NarrowAs<float16>(from, stride, block, to);
  NarrowAs<float>(from, stride, block, to);
}

}  // namespace sherd::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sherd::kernels::cpu {

HWY_EXPORT(Widen);
HWY_EXPORT(AddWidened);
HWY_EXPORT(Narrow);

void widen(Source from, Shape block, float* to, std::int64_t to_stride) {
  HWY_DYNAMIC_DISPATCH(Widen)(from, block, to, to_stride);
}
void add_widened(Source from, float* sum, std::int64_t count) {
  HWY_DYNAMIC_DISPATCH(AddWidened)(from, sum, count);
}
void narrow(const float* from, std::int64_t from_stride, Shape block, Sink to) {
  HWY_DYNAMIC_DISPATCH(Narrow)(from, from_stride, block, to);
}

void narrow_stochastic(const float* from, bfloat16* to, std::int64_t count, Philox bits,
                       std::uint64_t first) {
  for (std::int64_t i = 0; i < count;) {
    const std::uint64_t element = first + static_cast<std::uint64_t>(i);
    const PhiloxBlock words = philox_block(bits, element / 4);
    for (std::uint64_t word = element % 4; word < 4 && i < count; ++word, ++i) {
      to[i] = to_bfloat16_stochastic(from[i], words[word]);
    }
  }
}

}  // namespace sherd::kernels::cpu
#endif
