#include "kernels/cpu/cross_entropy.hpp"

#include <array>

#include "kernels/cpu/blocks.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/cross_entropy.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/block-inl.hpp"
#include "sherd/kernels/exp_math.hpp"

HWY_BEFORE_NAMESPACE();
namespace sherd::kernels::cpu::HWY_NAMESPACE {

/// x[i] = exp(x[i] - top); their sum, fp32 inside a block and fp64 across.
inline double exponentials(float* x, std::int64_t n, float top) {
  double sum = 0;
  for (std::int64_t at = 0; at < n; at += block) {
    const std::int64_t count = std::min(block, n - at);
    float* e = x + at;
#pragma GCC ivdep
    for (std::int64_t i = 0; i < count; ++i) e[i] = exp_f32(e[i] - top);
    Lanes lanes{};
    add_lanes(lanes, e, count);
    sum += static_cast<double>(tree_sum(lanes));
  }
  return sum;
}

/// The loss of one row; its logits become the gradient unless `scale` is null.
void cross_entropy_row(const CrossEntropyArgs& args, std::int64_t row, double* loss) {
  const std::int64_t n = args.logits.shape.cols;
  float* x = args.logits.as<float>() + row * n;
  const std::int32_t label = args.labels.as<const std::int32_t>()[row];
  *loss = 0;
  if (label == ignored_label) {
    if (args.scale != nullptr) std::memset(x, 0, static_cast<std::size_t>(n) * sizeof(float));
    return;
  }
  const float top = largest(x, n), named = x[label];
  const double sum = exponentials(x, n, top);
  *loss = std::log(sum) + (static_cast<double>(top) - static_cast<double>(named));
  if (args.scale == nullptr) return;
  const auto factor = static_cast<float>(static_cast<double>(*args.scale) / args.nominal);
  const auto inverse = static_cast<float>(1.0 / sum);
  const float hit = ::fmaf(x[label], inverse, -1.0f) * factor;
#pragma GCC ivdep
  for (std::int64_t i = 0; i < n; ++i) x[i] = x[i] * inverse * factor;
  x[label] = hit;
}

/// The term of one row, columns in order; no gradient and no term where the target is masked.
void squared_error_row(const SquaredErrorArgs& args, std::int64_t row, double* loss) {
  const std::int64_t n = args.out.shape.cols;
  const float* x = args.out.as<const float>() + row * n;
  const float* y = args.target.as<const float>() + row * n;
  float* dx = args.d_out ? args.d_out.as<float>() + row * n : nullptr;
  *loss = 0;
  if (std::isnan(y[0])) {
    if (dx != nullptr) std::memset(dx, 0, static_cast<std::size_t>(n) * sizeof(float));
    return;
  }
  for (std::int64_t i = 0; i < n; ++i) {
    const double gap = static_cast<double>(x[i]) - static_cast<double>(y[i]);
    *loss += 0.5 * gap * gap;
  }
  if (dx == nullptr) return;
  const auto factor = static_cast<float>(static_cast<double>(*args.scale) / args.nominal);
#pragma GCC ivdep
  for (std::int64_t i = 0; i < n; ++i) dx[i] = (x[i] - y[i]) * factor;
}

}  // namespace sherd::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sherd::kernels::cpu {

HWY_EXPORT(cross_entropy_row);
HWY_EXPORT(squared_error_row);

namespace {

// Rows in parallel, their losses added in row order; a batch at a time, for want of scratch.
template <class Row>
double sum_rows(device::Workers& workers, std::int64_t rows, Row&& row) {
  std::array<double, 512> losses;
  constexpr auto batch = static_cast<std::int64_t>(losses.size());
  double total = 0;
  for (std::int64_t first = 0; first < rows; first += batch) {
    const std::int64_t count = std::min(batch, rows - first);
    workers.run(count,
                [&](std::int64_t i, int) { row(first + i, &losses[static_cast<std::size_t>(i)]); });
    for (std::int64_t i = 0; i < count; ++i) total += losses[static_cast<std::size_t>(i)];
  }
  return total;
}

void count_loss(LossSum* sums, double loss, std::int64_t tokens) {
  if (sums == nullptr) return;
  sums->tokens += tokens;
  if (std::isfinite(loss)) {
    sums->loss.add(loss);
  } else {
    ++sums->nonfinite;
  }
}

}  // namespace

void cross_entropy(const CrossEntropyArgs& args, device::Workers& workers) {
  const auto labels = args.labels.span<const std::int32_t>();
  const auto ignored = std::count(labels.begin(), labels.end(), ignored_label);
  const double loss = sum_rows(workers, args.logits.shape.rows, [&](std::int64_t row, double* out) {
    HWY_DYNAMIC_DISPATCH(cross_entropy_row)(args, row, out);
  });
  count_loss(args.sums, loss, std::ssize(labels) - ignored);
}

void squared_error(const SquaredErrorArgs& args, device::Workers& workers) {
  const auto [rows, cols] = args.out.shape;
  std::int64_t counted = 0;  // before the rows run: d_out may be the target
  for (std::int64_t row = 0; row < rows && cols > 0; ++row) {
    counted += std::isnan(args.target.as<const float>()[row * cols]) ? 0 : 1;
  }
  const double loss = sum_rows(workers, cols > 0 ? rows : 0, [&](std::int64_t row, double* out) {
    HWY_DYNAMIC_DISPATCH(squared_error_row)(args, row, out);
  });
  count_loss(args.sums, loss, counted);
}

}  // namespace sherd::kernels::cpu
#endif
