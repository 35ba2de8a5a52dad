#include "kernels/cpu/norm_layer.hpp"

#include "kernels/cpu/blocks.hpp"
#include "kernels/cpu/column_sums.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/norm_layer.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/block-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace sherd::kernels::cpu::HWY_NAMESPACE {

struct Statistics {
  float mean, rstd;
};
// Two passes: the variance of centred values loses nothing where the mean is large.
inline Statistics row_statistics(const LayerNormArgs& args, std::int64_t row) {
  const std::int64_t cols = args.in.shape.cols;
  float space[block], centred[block];
  Lanes sum{}, squares{};
  for (std::int64_t at = 0; at < cols; at += block) {
    const std::int64_t n = std::min(block, cols - at);
    add_lanes(sum, widen(args.in, row * cols + at, n, space), n);
  }
  const float mean = tree_sum(sum) / static_cast<float>(cols);
  for (std::int64_t at = 0; at < cols; at += block) {
    const std::int64_t n = std::min(block, cols - at);
    const float* x = widen(args.in, row * cols + at, n, space);
#pragma GCC ivdep
    for (std::int64_t i = 0; i < n; ++i) centred[i] = x[i] - mean;
    add_products(squares, centred, centred, n);
  }
  const float variance = tree_sum(squares) / static_cast<float>(cols);
  return {mean, 1.0f / ::sqrtf(variance + args.eps)};
}

void layer_norm_rows(const LayerNormArgs& args, std::int64_t first, std::int64_t count) {
  const std::int64_t cols = args.in.shape.cols;
  float x_space[block], gamma_space[block], beta_space[block], out_space[block];
  for (std::int64_t row = first; row < first + count; ++row) {
    const auto [mean, rstd] = row_statistics(args, row);
    args.mean.as<float>()[row] = mean;
    args.rstd.as<float>()[row] = rstd;
    for (std::int64_t at = 0; at < cols; at += block) {
      const std::int64_t n = std::min(block, cols - at);
      const float* x = widen(args.in, row * cols + at, n, x_space);
      const float* gamma = widen(args.gamma, at, n, gamma_space);
      const float* beta = widen(args.beta, at, n, beta_space);
      float* y = window(args.out, row * cols + at, out_space);
#pragma GCC ivdep
      for (std::int64_t i = 0; i < n; ++i) {
        y[i] = ::fmaf((x[i] - mean) * rstd, gamma[i], beta[i]);
      }
      narrow(y, args.out, row * cols + at, n);
    }
  }
}

/// Windows on one block of one row, and x̂ = (x - mean)·rstd with d_out·gamma beside it.
struct BackwardBlock {
  float x_space[block], d_out_space[block], gamma_space[block];
  float hat[block], weighted[block];
  const float* d_out = nullptr;

  HWY_ATTR void load(const LayerNormBackwardArgs& args, std::int64_t row, std::int64_t at,
                     std::int64_t n) {
    const std::int64_t from = row * args.in.shape.cols + at;
    const float mean = args.mean.as<float>()[row], rstd = args.rstd.as<float>()[row];
    const float* x = widen(args.in, from, n, x_space);
    const float* dy = widen(args.d_out, from, n, d_out_space);
    const float* gamma = widen(args.gamma, at, n, gamma_space);
#pragma GCC ivdep
    for (std::int64_t i = 0; i < n; ++i) {
      hat[i] = (x[i] - mean) * rstd;
      weighted[i] = dy[i] * gamma[i];
    }
    d_out = dy;
  }
};

// Adds the row to its block's column sums before d_in, which may be d_out, is written.
inline void backward_sums(BackwardBlock& b, std::int64_t at, std::int64_t n, std::int64_t cols,
                          float* partial) {
  float* gamma = partial + at;
  float* beta = partial + cols + at;
#pragma GCC ivdep
  for (std::int64_t i = 0; i < n; ++i) {
    gamma[i] = ::fmaf(b.d_out[i], b.hat[i], gamma[i]);
    beta[i] += b.d_out[i];
  }
}

inline void backward_d_in(const LayerNormBackwardArgs& args, BackwardBlock& b, std::int64_t row,
                          float mean_weighted, float mean_product) {
  const std::int64_t cols = args.in.shape.cols;
  const float rstd = args.rstd.as<float>()[row];
  float out_space[block], residual_space[block];
  for (std::int64_t at = 0; at < cols; at += block) {
    const std::int64_t n = std::min(block, cols - at), from = row * cols + at;
    if (cols > block) b.load(args, row, at, n);
    float* dx = out_space;
#pragma GCC ivdep
    for (std::int64_t i = 0; i < n; ++i) {
      dx[i] = rstd * ::fmaf(-b.hat[i], mean_product, b.weighted[i] - mean_weighted);
    }
    if (args.residual) {
      const float* r = widen(args.residual, from, n, residual_space);
#pragma GCC ivdep
      for (std::int64_t i = 0; i < n; ++i) dx[i] = r[i] + dx[i];
    }
    narrow(dx, args.d_in, from, n);
  }
}

/// partial: [2, cols] of this block of rows: d_gamma, d_beta.
void layer_norm_backward_rows(const LayerNormBackwardArgs& args, std::int64_t first,
                              std::int64_t count, float* partial) {
  const std::int64_t cols = args.in.shape.cols;
  std::memset(partial, 0, static_cast<std::size_t>(2 * cols) * sizeof(float));
  BackwardBlock b;
  for (std::int64_t row = first; row < first + count; ++row) {
    Lanes weighted{}, product{};
    for (std::int64_t at = 0; at < cols; at += block) {
      const std::int64_t n = std::min(block, cols - at);
      b.load(args, row, at, n);
      add_lanes(weighted, b.weighted, n);
      add_products(product, b.weighted, b.hat, n);
      backward_sums(b, at, n, cols, partial);
    }
    if (!args.d_in) continue;
    const auto width = static_cast<float>(cols);
    backward_d_in(args, b, row, tree_sum(weighted) / width, tree_sum(product) / width);
  }
}

}  // namespace sherd::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sherd::kernels::cpu {

HWY_EXPORT(layer_norm_rows);
HWY_EXPORT(layer_norm_backward_rows);

void layer_norm(const LayerNormArgs& args, device::Workers& workers) {
  run_chunks(workers, args.in.shape.rows, 16, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(layer_norm_rows)(args, first, count);
  });
}

void layer_norm_backward(const LayerNormBackwardArgs& args, device::Workers& workers) {
  const auto [rows, cols] = args.in.shape;
  const std::int64_t unit = sum_block_rows(rows), stride = 2 * cols;
  auto* partials = args.scratch.as<float>();
  run_chunks(workers, rows, unit, [&, unit = unit](std::int64_t first, std::int64_t count) {
    float* partial = partials + first / unit * stride;
    HWY_DYNAMIC_DISPATCH(layer_norm_backward_rows)(args, first, count, partial);
  });
  const Partials sums{partials, sum_blocks(rows), stride};
  store_column_sums(sums, args.d_gamma, workers);
  store_column_sums({partials + args.in.shape.cols, sums.count, stride}, args.d_beta, workers);
}

}  // namespace sherd::kernels::cpu
#endif
