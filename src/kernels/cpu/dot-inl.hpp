// Compiled once per instruction set: inner products of short rows in registers, with the bits of
// add_products and tree_sum.
#if defined(SHERD_KERNELS_CPU_DOT_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef SHERD_KERNELS_CPU_DOT_INL
#undef SHERD_KERNELS_CPU_DOT_INL
#else
#define SHERD_KERNELS_CPU_DOT_INL
#endif

#include "kernels/cpu/block-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace sherd::kernels::cpu::HWY_NAMESPACE {

#if HWY_TARGET != HWY_SCALAR
/// As of Lanes: the upper half onto the lower one, four times.
HWY_API float tree_sum(Registers sum) {
  for (int width = 8; width > 0; width /= 2) {
    const auto step = static_cast<int>(width / wide);  // whole registers
    if (step > 0) {
      for (int k = 0; k < step; ++k) sum.v[k] = sum.v[k] + sum.v[k + step];
    } else {
      const hn::RebindToUnsigned<decltype(fd)> du;
      const auto other = hn::Xor(hn::Iota(du, 0), hn::Set(du, static_cast<std::uint32_t>(width)));
      sum.v[0] = sum.v[0] + hn::TableLookupLanes(sum.v[0], hn::IndicesFromVec(fd, other));
    }
  }
  return hn::GetLane(sum.v[0]);
}
#endif

/// out[k] = a · b[k], n elements each; `a` is read once.
template <std::size_t rows>
HWY_INLINE void dots(const float* a, const float* const (&b)[rows], std::int64_t n,
                     float (&out)[rows]) {
#if HWY_TARGET != HWY_SCALAR
  if (n % 16 == 0) {
    Registers sum[rows];
    for (Registers& one : sum) {
      for (int p = 0; p < parts; ++p) one.v[p] = hn::Zero(fd);
    }
    for (std::int64_t i = 0; i < n; i += 16) {
      for (int p = 0; p < parts; ++p) {
        const auto x = hn::LoadU(fd, a + i + p * wide);
        for (std::size_t k = 0; k < rows; ++k) {
          sum[k].v[p] = hn::MulAdd(x, hn::LoadU(fd, b[k] + i + p * wide), sum[k].v[p]);
        }
      }
    }
    for (std::size_t k = 0; k < rows; ++k) out[k] = tree_sum(sum[k]);
    return;
  }
#endif
  for (std::size_t k = 0; k < rows; ++k) {
    Lanes lanes{};
    add_products(lanes, a, b[k], n);
    out[k] = tree_sum(lanes);
  }
}
HWY_INLINE float dot(const float* a, const float* b, std::int64_t n) {
  const float* rows[] = {b};
  float out[1];
  dots(a, rows, n, out);
  return out[0];
}

/// to += Σ weights[k]·rows[k], k ascending, fused.
template <std::size_t rows>
HWY_INLINE void add_weighted(const float (&weights)[rows], const float* const (&from)[rows],
                             std::int64_t n, float* to) {
  std::int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  Vector w[rows];
  for (std::size_t k = 0; k < rows; ++k) w[k] = hn::Set(fd, weights[k]);
  for (; i + wide <= n; i += wide) {
    auto sum = hn::LoadU(fd, to + i);
    for (std::size_t k = 0; k < rows; ++k) sum = hn::MulAdd(w[k], hn::LoadU(fd, from[k] + i), sum);
    hn::StoreU(sum, fd, to + i);
  }
#endif
  for (; i < n; ++i) {
    for (std::size_t k = 0; k < rows; ++k) to[i] = ::fmaf(weights[k], from[k][i], to[i]);
  }
}

}  // namespace sherd::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
