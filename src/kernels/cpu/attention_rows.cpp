#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/attention.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_rows.cpp"
#include <hwy/foreach_target.h>
// After foreach_target, which includes this file again for each target.
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace sherd::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using VF = hn::Vec<F32>;
static_assert(attention_tile % 16 == 0);  // rows are whole vectors of every target but the masks

HWY_INLINE std::int64_t lanes() { return static_cast<std::int64_t>(hn::Lanes(F32())); }

// Highway's Exp gives 0 for NaN, which would hide a broken score.
HWY_INLINE VF exp_or_nan(VF x) {
  const F32 d;
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(d, x));
}

// Unseen columns weigh exp(-inf) = 0; whole vectors from here on.
HWY_INLINE std::int64_t mask(float* row, std::int64_t seen, std::int64_t cols) {
  const std::int64_t end = (cols + lanes() - 1) / lanes() * lanes();
  std::fill(row + seen, row + end, -std::numeric_limits<float>::infinity());
  return end;
}

void FoldScores(const ScoreTile& tile, const RunningRows& state, bool first) {
  const F32 d;
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    float* row = tile.scores + r * attention_tile;
    const std::int64_t end = mask(row, tile.seen(r), tile.cols);
    VF most = hn::Set(d, first ? -std::numeric_limits<float>::infinity() : state.maximum[r]);
    for (std::int64_t c = 0; c < end; c += lanes()) most = hn::Max(most, hn::LoadU(d, row + c));
    const float maximum = hn::GetLane(hn::MaxOfLanes(d, most));
    const VF shift = hn::Set(d, maximum);
    VF total = hn::Zero(d);
    for (std::int64_t c = 0; c < end; c += lanes()) {
      const VF weight = exp_or_nan(hn::Sub(hn::LoadU(d, row + c), shift));
      hn::StoreU(weight, d, row + c);
      total = hn::Add(total, weight);
    }
    const float sum = hn::GetLane(hn::SumOfLanes(d, total));
    if (first) {
      state.sum[r] = sum;
    } else {
      const float fade = std::exp(state.maximum[r] - maximum);
      state.sum[r] = state.sum[r] * fade + sum;
      float* out = state.out + r * state.out_stride;
      for (std::int64_t c = 0; c < state.head_dim; c += lanes()) {
        hn::StoreU(hn::Mul(hn::LoadU(d, out + c), hn::Set(d, fade)), d, out + c);
      }
    }
    state.maximum[r] = maximum;
  }
}

void DifferentiateScores(const ScoreTile& tile, const ScoreGradient& gradient) {
  const F32 d;
  const VF scale = hn::Set(d, gradient.scale);
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    float* row = tile.scores + r * attention_tile;
    float* d_row = gradient.d_scores + r * attention_tile;
    const std::int64_t seen = tile.seen(r), end = mask(row, seen, tile.cols);
    std::fill(d_row + seen, d_row + end, 0.0f);
    const VF lse = hn::Set(d, gradient.lse[r]), delta = hn::Set(d, gradient.delta[r]);
    for (std::int64_t c = 0; c < end; c += lanes()) {
      const VF weight = exp_or_nan(hn::Sub(hn::LoadU(d, row + c), lse));
      const VF change = hn::Mul(weight, hn::Sub(hn::LoadU(d, d_row + c), delta));
      hn::StoreU(weight, d, row + c);
      hn::StoreU(hn::Mul(change, scale), d, d_row + c);
    }
  }
}

void RowDots(const float* a, const float* b, Shape block, std::int64_t stride, float* sum) {
  const F32 d;
  for (std::int64_t r = 0; r < block.rows; ++r) {
    const float *x = a + r * stride, *y = b + r * stride;
    VF total = hn::Zero(d);
    std::int64_t c = 0;
    for (; c + lanes() <= block.cols; c += lanes()) {
      total = hn::Add(total, hn::Mul(hn::LoadU(d, x + c), hn::LoadU(d, y + c)));
    }
    sum[r] = hn::GetLane(hn::SumOfLanes(d, total));
    for (; c < block.cols; ++c) sum[r] += x[c] * y[c];
  }
}

}  // namespace sherd::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sherd::kernels::cpu {

HWY_EXPORT(FoldScores);
HWY_EXPORT(DifferentiateScores);
HWY_EXPORT(RowDots);

void fold_scores(const ScoreTile& tile, const RunningRows& state, bool first) {
  HWY_DYNAMIC_DISPATCH(FoldScores)(tile, state, first);
}
void score_gradient(const ScoreTile& tile, const ScoreGradient& gradient) {
  HWY_DYNAMIC_DISPATCH(DifferentiateScores)(tile, gradient);
}
void row_dots(const float* a, const float* b, Shape block, std::int64_t stride, float* sum) {
  HWY_DYNAMIC_DISPATCH(RowDots)(a, b, block, stride, sum);
}

}  // namespace sherd::kernels::cpu
#endif
