#include "kernels/cpu/column_sums.hpp"

#include "kernels/cpu/blocks.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/column_sums.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/block-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace sherd::kernels::cpu::HWY_NAMESPACE {

void store_columns(const Partials& partials, const Grad& grad, std::int64_t first, std::int64_t n) {
  float sum[block] = {};
  for (std::int64_t k = 0; k < partials.count; ++k) {
    const float* row = partials.from + k * partials.stride + first;
#pragma GCC ivdep
    for (std::int64_t i = 0; i < n; ++i) sum[i] += row[i];
  }
  store_grad(sum, grad, first, n);
}

}  // namespace sherd::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sherd::kernels::cpu {

HWY_EXPORT(store_columns);

void store_column_sums(const Partials& partials, const Grad& grad, device::Workers& workers) {
  if (!grad.to) return;
  run_chunks(workers, grad.to.numel(), block, [&](std::int64_t first, std::int64_t n) {
    HWY_DYNAMIC_DISPATCH(store_columns)(partials, grad, first, n);
  });
}

}  // namespace sherd::kernels::cpu
#endif
