#include "kernels/cpu/matrix_vector.hpp"

#include "kernels/cpu/blocks.hpp"
#include "kernels/cpu/matmul.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/matrix_vector.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/dot-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace sherd::kernels::cpu::HWY_NAMESPACE {

/// to += a[row, row + rows)·b[those rows][first, first + count), neighbouring rows taken together.
template <std::size_t rows>
HWY_INLINE void add_rows(const MatmulArgs& args, std::int64_t row, std::int64_t first,
                         std::int64_t count, float* to) {
  const std::int64_t n = args.b.shape.cols;
  const std::int64_t step = args.b.type == DType::f32 ? count : block;
  float space[rows][block], factor_space[rows], factors[rows];
  const float* wide_factors = widen(args.a, row, rows, factor_space);
  for (std::size_t r = 0; r < rows; ++r) factors[r] = wide_factors[r];
  for (std::int64_t c = 0; c < count; c += step) {
    const std::int64_t some = std::min(step, count - c);
    const float* from[rows];
    for (std::size_t r = 0; r < rows; ++r) {
      const std::int64_t at = (row + static_cast<std::int64_t>(r)) * n + first + c;
      from[r] = widen(args.b, at, some, space[r]);
    }
    add_weighted(factors, from, some, to + c);
  }
}

/// to[0, count) = the part that rows [row, end) of b have in columns [first, first + count).
void multiply_part(const MatmulArgs& args, std::int64_t row, std::int64_t end, std::int64_t first,
                   std::int64_t count, float* to) {
  std::memset(to, 0, static_cast<std::size_t>(count) * sizeof(float));
  for (; row + 4 <= end; row += 4) add_rows<4>(args, row, first, count, to);
  for (; row < end; ++row) add_rows<1>(args, row, first, count, to);
}

/// out[first, first + count) = the sum of `parts` rows, `stride` apart, in order, and the bias.
void add_parts(const MatmulArgs& args, const float* from, std::int64_t parts, std::int64_t first,
               std::int64_t count) {
  const std::int64_t stride = args.out.shape.cols;
  float sum[block], space[block];
  for (std::int64_t at = first; at < first + count; at += block) {
    const std::int64_t n = std::min(block, first + count - at);
    std::memcpy(sum, from + at, static_cast<std::size_t>(n) * sizeof(float));
    for (std::int64_t k = 1; k < parts; ++k) {
      const float* part = from + k * stride + at;
#pragma GCC ivdep
      for (std::int64_t i = 0; i < n; ++i) sum[i] += part[i];
    }
    if (args.bias) {
      const float* bias = widen(args.bias, at, n, space);
#pragma GCC ivdep
      for (std::int64_t i = 0; i < n; ++i) sum[i] += bias[i];
    }
    narrow(sum, args.out, at, n);
  }
}

/// out[at, at + rows) = the products of a with as many rows of a transposed b.
template <std::size_t rows>
HWY_INLINE void dot_rows(const MatmulArgs& args, std::int64_t at) {
  const std::int64_t k = args.a.shape.cols;
  const bool direct = args.a.type == DType::f32 && args.b.type == DType::f32;
  const std::int64_t step = direct ? k : block;
  float space[rows][block], x_space[block], sums[rows] = {}, bias_space[rows];
  for (std::int64_t i = 0; i < k; i += step) {
    const std::int64_t some = std::min(step, k - i);
    const float* x = widen(args.a, i, some, x_space);
    const float* from[rows];
    for (std::size_t r = 0; r < rows; ++r) {
      from[r] = widen(args.b, (at + static_cast<std::int64_t>(r)) * k + i, some, space[r]);
    }
    float part[rows];
    dots(x, from, some, part);
    for (std::size_t r = 0; r < rows; ++r) sums[r] += part[r];
  }
  if (args.bias) {
    const float* bias = widen(args.bias, at, rows, bias_space);
    for (std::size_t r = 0; r < rows; ++r) sums[r] += bias[r];
  }
  narrow(sums, args.out, at, rows);
}
void dot_part(const MatmulArgs& args, std::int64_t first, std::int64_t count) {
  std::int64_t at = first;
  for (; at + 4 <= first + count; at += 4) dot_rows<4>(args, at);
  for (; at < first + count; ++at) dot_rows<1>(args, at);
}

}  // namespace sherd::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sherd::kernels::cpu {
namespace {

HWY_EXPORT(multiply_part);
HWY_EXPORT(add_parts);
HWY_EXPORT(dot_part);

constexpr std::int64_t strip = 4096;  // columns whose sums stay in the first-level cache

// Enough for many threads, few enough that adding them up costs little.
std::int64_t parts_of(std::int64_t n, std::int64_t k) {
  return std::max(n, k) < long_row ? 1 : std::clamp<std::int64_t>(k / 96, 1, 16);
}

std::int64_t pieces(std::int64_t length, std::int64_t piece) {
  return (length + piece - 1) / piece;
}

}  // namespace

std::int64_t matrix_vector_floats(std::int64_t n, std::int64_t k, bool halves) {
  const std::int64_t parts = parts_of(n, k);
  return parts == 1 && !halves ? 0 : parts * n;
}

void matrix_vector(const MatmulArgs& args, device::Workers& workers) {
  const std::int64_t n = args.out.shape.cols, k = args.a.shape.cols;
  if (args.transpose_b == Transpose::yes) {
    const std::int64_t rows = std::max<std::int64_t>(4, (std::int64_t{1} << 16) / k / 4 * 4);
    return run_chunks(workers, n, rows, [&](std::int64_t first, std::int64_t count) {
      HWY_DYNAMIC_DISPATCH(dot_part)(args, first, count);
    });
  }
  const std::int64_t parts = parts_of(n, k), rows = pieces(pieces(k, parts), 4) * 4;
  const std::int64_t filled = pieces(k, rows), strips = pieces(n, strip);
  const bool direct = filled == 1 && args.out.type == DType::f32;
  float* sums = direct ? args.out.as<float>() : args.scratch.as<float>();
  workers.run(filled * strips, [&](std::int64_t index, int) {
    const std::int64_t row = index / strips * rows, first = index % strips * strip;
    HWY_DYNAMIC_DISPATCH(multiply_part)
    (args, row, std::min(k, row + rows), first, std::min(strip, n - first),
     sums + index / strips * n + first);
  });
  if (direct && !args.bias) return;
  run_chunks(workers, n, 4 * block, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(add_parts)(args, sums, filled, first, count);
  });
}

}  // namespace sherd::kernels::cpu
#endif
