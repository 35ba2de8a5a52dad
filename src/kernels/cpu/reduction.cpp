#include "kernels/cpu/reduction.hpp"

#include <atomic>

#include "kernels/cpu/blocks.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/reduction.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/block-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace sherd::kernels::cpu::HWY_NAMESPACE {

inline double tree_sum(double (&lane)[8]) {
  for (int width = 4; width > 0; width /= 2) {
    for (int k = 0; k < width; ++k) lane[k] += lane[k + width];
  }
  return lane[0];
}

/// Σ x² of one quantum: element i in lane i mod 8. A square of an fp32 is exact in fp64.
inline double square_quantum(const float* x) {
  double lane[8] = {};
#if HWY_TARGET != HWY_SCALAR
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> half;
  constexpr auto step = static_cast<std::int64_t>(HWY_LANES(double));
  constexpr int pieces = 8 / static_cast<int>(step);
  hn::Vec<decltype(d)> sum[pieces];
  for (int k = 0; k < pieces; ++k) sum[k] = hn::Zero(d);
  for (std::int64_t i = 0; i < quantum; i += 8) {
    for (int k = 0; k < pieces; ++k) {
      const auto wide_x = hn::PromoteTo(d, hn::LoadU(half, x + i + k * step));
      sum[k] = hn::MulAdd(wide_x, wide_x, sum[k]);
    }
  }
  for (int k = 0; k < pieces; ++k) hn::StoreU(sum[k], d, lane + k * step);
#else
  for (std::int64_t i = 0; i < quantum; ++i) {
    lane[i % 8] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
#endif
  return tree_sum(lane);
}

void square_norm_chunk(View x, NormSum* sum, std::int64_t first, std::int64_t count) {
  float space[quantum];
  for (std::int64_t at = first; at < first + count; at += quantum) {
    const float* q = widen(x, at, quantum, space);
    const double squares = square_quantum(q);  // squares of finite fp32 cannot overflow it
    if (std::isfinite(squares)) {
      sum->squares.add(squares);
    } else {
      sum->nonfinite += std::count_if(q, q + quantum, [](float e) { return !std::isfinite(e); });
    }
  }
}

inline constexpr std::int64_t fold_block = 8 * block;  // long enough runs for each source's stream

/// `so_far` and the next source into `to`, which may be one of them.
inline void add_rows(const float* so_far, const float* next, float* to, std::int64_t n) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < n; ++i) to[i] = so_far[i] + next[i];
}

/// Terms in order, from memory that `out` may share: nothing is stored before all are read.
void fold_float(const FoldArgs& args) {
  const View& out = args.out;
  float sum[fold_block], space[fold_block];
  const std::int64_t total = out.numel();
  const bool there = args.mode == Write::add, left = args.order == FoldOrder::left;
  for (std::int64_t at = 0; at < total; at += fold_block) {
    const std::int64_t n = std::min(fold_block, total - at);
    const float* so_far = there && left ? widen(out, at, n, sum) : nullptr;
    for (const std::byte* source : args.sources) {
      const View view{const_cast<std::byte*>(source), out.shape, out.type};
      if (so_far == nullptr) {
        so_far = widen(view, at, n, sum);
        continue;
      }
      add_rows(so_far, widen(view, at, n, space), sum, n);
      so_far = sum;
    }
    if (there && !left) {
      add_rows(widen(out, at, n, space), so_far, sum, n);
      so_far = sum;
    }
    if (args.round == nullptr) {
      narrow(so_far, out, at, n);
      continue;
    }
    for (std::int64_t i = 0; i < n; i += block) {
      narrow_stochastic(so_far + i, out, at + i, std::min(block, n - i), *args.round,
                        args.first + static_cast<std::uint64_t>(at + i));
    }
  }
}

void fold_integer(const FoldArgs& args) {
  std::uint64_t sum[block];  // digests wrap round, which signed integers may not
  auto* out = args.out.as<std::uint64_t>();
  const std::int64_t total = args.out.numel();
  for (std::int64_t at = 0; at < total; at += block) {
    const std::int64_t n = std::min(block, total - at);
    for (std::int64_t i = 0; i < n; ++i) sum[i] = args.mode == Write::add ? out[at + i] : 0;
    for (const std::byte* source : args.sources) {
      const auto* terms = reinterpret_cast<const std::uint64_t*>(source) + at;
      for (std::int64_t i = 0; i < n; ++i) sum[i] += terms[i];
    }
    std::memcpy(out + at, sum, static_cast<std::size_t>(n) * sizeof(std::uint64_t));
  }
}

}  // namespace sherd::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sherd::kernels::cpu {

HWY_EXPORT(square_norm_chunk);
HWY_EXPORT(fold_float);
HWY_EXPORT(fold_integer);

namespace {

// Integers: tasks may arrive in any order.
void merge(NormSum& into, const NormSum& part) {
  for (std::size_t i = 0; i < part.squares.limb.size(); ++i) {
    if (part.squares.limb[i] == 0) continue;
    std::atomic_ref(into.squares.limb[i])
        .fetch_add(part.squares.limb[i], std::memory_order_relaxed);
  }
  std::atomic_ref(into.nonfinite).fetch_add(part.nonfinite, std::memory_order_relaxed);
}

}  // namespace

void square_norm(View x, NormSum& sum, device::Workers& workers) {
  run_chunks(workers, x.numel(), chunk, [&](std::int64_t first, std::int64_t count) {
    NormSum part;
    HWY_DYNAMIC_DISPATCH(square_norm_chunk)(x, &part, first, count);
    merge(sum, part);
  });
}

void fold(const FoldArgs& args) {
  if (args.out.type == DType::i64) return HWY_DYNAMIC_DISPATCH(fold_integer)(args);
  HWY_DYNAMIC_DISPATCH(fold_float)(args);
}

}  // namespace sherd::kernels::cpu
#endif
