#include "kernels/cpu/panel.hpp"

#include <algorithm>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/panel.cpp"
#include <hwy/foreach_target.h>
// After foreach_target, which includes this file again for each target.
#include <hwy/highway.h>

#include "kernels/cpu/block-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace sherd::kernels::cpu::HWY_NAMESPACE {

inline void widen_row(const float* in, float* out, std::int64_t n) {
  std::memcpy(out, in, static_cast<std::size_t>(n) * sizeof(float));
}
inline void narrow_row(const float* in, float* out, std::int64_t n) { widen_row(in, out, n); }

template <class T>
void WidenAs(Source from, Shape rows, float* to, std::int64_t stride) {
  for (std::int64_t row = 0; row < rows.rows; ++row) {
    widen_row(reinterpret_cast<const T*>(from.at(row, 0).data), to + row * stride, rows.cols);
  }
}
void Widen(Source from, Shape rows, float* to, std::int64_t stride) {
  if (from.type == DType::bf16) return WidenAs<bfloat16>(from, rows, to, stride);
  if (from.type == DType::f16) return WidenAs<float16>(from, rows, to, stride);
  WidenAs<float>(from, rows, to, stride);
}

void AddWidened(Source from, float* sum, std::int64_t count) {
  float space[block];
  for (std::int64_t first = 0; first < count; first += block) {
    const std::int64_t n = std::min(block, count - first);
    const bool whole = from.type == DType::f32;
    const float* in = whole ? reinterpret_cast<const float*>(from.data) + first : space;
    if (!whole) Widen(from.at(0, first), {1, n}, space, n);
    float* to = sum + first;
#pragma GCC ivdep
    for (std::int64_t i = 0; i < n; ++i) to[i] += in[i];
  }
}

template <class T>
void NarrowAs(const float* from, std::int64_t stride, Shape rows, Sink to) {
  for (std::int64_t row = 0; row < rows.rows; ++row) {
    narrow_row(from + row * stride, reinterpret_cast<T*>(to.at(row, 0).data), rows.cols);
  }
}
void Narrow(const float* from, std::int64_t stride, Shape rows, Sink to) {
  if (to.type == DType::bf16) return NarrowAs<bfloat16>(from, stride, rows, to);
  if (to.type == DType::f16) return NarrowAs<float16>(from, stride, rows, to);
  NarrowAs<float>(from, stride, rows, to);
}

void NarrowStochastic(const float* from, bfloat16* to, std::int64_t count, Philox bits,
                      std::uint64_t first) {
  std::uint32_t space[word_space];
  for (std::int64_t i = 0; i < count; i += block) {
    const std::int64_t n = std::min(block, count - i);
    narrow_row(from + i, to + i, n,
               random_words(bits, first + static_cast<std::uint64_t>(i), n, space));
  }
}

}  // namespace sherd::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sherd::kernels::cpu {

HWY_EXPORT(Widen);
HWY_EXPORT(AddWidened);
HWY_EXPORT(Narrow);
HWY_EXPORT(NarrowStochastic);

void widen(Source from, Shape rows, float* to, std::int64_t to_stride) {
  HWY_DYNAMIC_DISPATCH(Widen)(from, rows, to, to_stride);
}
void add_widened(Source from, float* sum, std::int64_t count) {
  HWY_DYNAMIC_DISPATCH(AddWidened)(from, sum, count);
}
void narrow(const float* from, std::int64_t from_stride, Shape rows, Sink to) {
  HWY_DYNAMIC_DISPATCH(Narrow)(from, from_stride, rows, to);
}
void narrow_stochastic(const float* from, bfloat16* to, std::int64_t count, Philox bits,
                       std::uint64_t first) {
  HWY_DYNAMIC_DISPATCH(NarrowStochastic)(from, to, count, bits, first);
}

}  // namespace sherd::kernels::cpu
#endif
