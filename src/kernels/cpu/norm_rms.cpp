#include "kernels/cpu/norm_rms.hpp"

#include "kernels/cpu/blocks.hpp"
#include "kernels/cpu/column_sums.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/norm_rms.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/block-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace sherd::kernels::cpu::HWY_NAMESPACE {

void rms_norm_rows(const RmsNormArgs& args, std::int64_t first, std::int64_t count) {
  const std::int64_t cols = args.in.shape.cols;
  float x_space[block], gain_space[block], out_space[block];
  for (std::int64_t row = first; row < first + count; ++row) {
    Lanes squares{};
    for (std::int64_t at = 0; at < cols; at += block) {
      const std::int64_t n = std::min(block, cols - at);
      const float* x = widen(args.in, row * cols + at, n, x_space);
      add_products(squares, x, x, n);
    }
    const float rstd = 1.0f / ::sqrtf(tree_sum(squares) / static_cast<float>(cols) + args.eps);
    args.rstd.as<float>()[row] = rstd;
    for (std::int64_t at = 0; at < cols; at += block) {
      const std::int64_t n = std::min(block, cols - at);
      const float* x = widen(args.in, row * cols + at, n, x_space);
      const float* gain = widen(args.gain, at, n, gain_space);
      float* y = window(args.out, row * cols + at, out_space);
#pragma GCC ivdep
      for (std::int64_t i = 0; i < n; ++i) y[i] = x[i] * rstd * gain[i];
      narrow(y, args.out, row * cols + at, n);
    }
  }
}

/// Windows on one block of one row, and x̂ = x·rstd with d_out·gain beside it.
struct RmsBlock {
  float x_space[block], d_out_space[block], gain_space[block];
  float hat[block], weighted[block];
  const float* d_out = nullptr;

  HWY_ATTR void load(const RmsNormBackwardArgs& args, std::int64_t row, std::int64_t at,
                     std::int64_t n) {
    const std::int64_t from = row * args.in.shape.cols + at;
    const float rstd = args.rstd.as<float>()[row];
    const float* x = widen(args.in, from, n, x_space);
    const float* dy = widen(args.d_out, from, n, d_out_space);
    const float* gain = widen(args.gain, at, n, gain_space);
#pragma GCC ivdep
    for (std::int64_t i = 0; i < n; ++i) {
      hat[i] = x[i] * rstd;
      weighted[i] = dy[i] * gain[i];
    }
    d_out = dy;
  }
};

inline void rms_d_in(const RmsNormBackwardArgs& args, RmsBlock& b, std::int64_t row, float along) {
  const std::int64_t cols = args.in.shape.cols;
  const float rstd = args.rstd.as<float>()[row];
  float dx[block], residual_space[block];
  for (std::int64_t at = 0; at < cols; at += block) {
    const std::int64_t n = std::min(block, cols - at), from = row * cols + at;
    if (cols > block) b.load(args, row, at, n);
#pragma GCC ivdep
    for (std::int64_t i = 0; i < n; ++i) dx[i] = rstd * ::fmaf(-b.hat[i], along, b.weighted[i]);
    if (args.residual) {
      const float* r = widen(args.residual, from, n, residual_space);
#pragma GCC ivdep
      for (std::int64_t i = 0; i < n; ++i) dx[i] = r[i] + dx[i];
    }
    narrow(dx, args.d_in, from, n);
  }
}

/// partial: [cols], d_gain of this block of rows.
void rms_norm_backward_rows(const RmsNormBackwardArgs& args, std::int64_t first, std::int64_t count,
                            float* partial) {
  const std::int64_t cols = args.in.shape.cols;
  std::memset(partial, 0, static_cast<std::size_t>(cols) * sizeof(float));
  RmsBlock b;
  for (std::int64_t row = first; row < first + count; ++row) {
    Lanes product{};
    for (std::int64_t at = 0; at < cols; at += block) {
      const std::int64_t n = std::min(block, cols - at);
      b.load(args, row, at, n);
      add_products(product, b.weighted, b.hat, n);
      float* sum = partial + at;  // before d_in, which may be d_out, is written
#pragma GCC ivdep
      for (std::int64_t i = 0; i < n; ++i) sum[i] = ::fmaf(b.d_out[i], b.hat[i], sum[i]);
    }
    if (args.d_in) rms_d_in(args, b, row, tree_sum(product) / static_cast<float>(cols));
  }
}

}  // namespace sherd::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sherd::kernels::cpu {

HWY_EXPORT(rms_norm_rows);
HWY_EXPORT(rms_norm_backward_rows);

void rms_norm(const RmsNormArgs& args, device::Workers& workers) {
  run_chunks(workers, args.in.shape.rows, 16, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(rms_norm_rows)(args, first, count);
  });
}

void rms_norm_backward(const RmsNormBackwardArgs& args, device::Workers& workers) {
  const auto [rows, cols] = args.in.shape;
  const std::int64_t unit = sum_block_rows(rows), stride = cols;
  auto* partials = args.scratch.as<float>();
  run_chunks(workers, rows, unit, [&, unit = unit](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(rms_norm_backward_rows)
    (args, first, count, partials + first / unit * stride);
  });
  store_column_sums({partials, sum_blocks(rows), stride}, args.d_gain, workers);
}

}  // namespace sherd::kernels::cpu
#endif
