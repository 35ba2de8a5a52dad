// Losses, one row at a time. The sum of a row's exponentials is in another order than the CPU's
// (fixed: fp32 in a thread, fp64 across threads) and log is the device's, so losses and gradients
// may differ in the last places. Each row is a term of its own in the exact sum of losses, so
// neither the order of rows nor their cut into chunks changes it.
#include "sherd/kernels/cross_entropy.hpp"

#include <cfloat>

#include "cuda/device/queue.hpp"
#include "cuda/kernels/access.cuh"
#include "cuda/kernels/exact_add.cuh"
#include "cuda/kernels/row_sums.cuh"
#include "cuda/kernels/run.cuh"
#include "cuda/kernels/twins.hpp"
#include "sherd/kernels/exp_math.hpp"

namespace sherd::cuda {
namespace {

__device__ inline void count_row(LossSum* sums, double loss) {
  if (sums == nullptr) return;
  add_integer(&sums->tokens, 1);
  if (isfinite(loss)) {
    add_exactly(&sums->loss, loss);
  } else {
    add_integer(&sums->nonfinite, 1);
  }
}
__device__ inline float gradient_factor(const float* scale, double nominal) {
  return static_cast<float>(static_cast<double>(*scale) / nominal);
}

// --- cross-entropy ----------------------------------------------------------------------------

constexpr unsigned row_threads = 512, row_warps = row_threads / warp;

struct LossOperands {
  Operand logits, gradient;
  const std::int32_t* labels;
  const float* scale;
  double nominal;
  LossSum* sums;
  std::int64_t cols;
};

/// The largest logit so far, and the sum of exponentials relative to it. It starts at the lowest
/// finite number: infinities then become sums that are no numbers, as they should.
struct Softmax {
  float top = -FLT_MAX, sum = 0;

  __device__ void add(const float (&x)[pack], int count) {
    float largest = top;
#pragma unroll
    for (int i = 0; i < pack; ++i) largest = i < count && x[i] > largest ? x[i] : largest;
    sum *= exp_f32(top - largest);
    top = largest;
#pragma unroll
    for (int i = 0; i < pack; ++i) {
      if (i < count) sum += exp_f32(x[i] - top);
    }
  }
};

/// Columns behind the last, up to the pitch, become zero: products read them.
__device__ inline void clear_row(const Operand& gradient) {
  const std::int64_t step = row_threads * pack;
  for (std::int64_t at = threadIdx.x * pack; at < gradient.pitch; at += step) {
    put(gradient, at, elements_at(at / pack, gradient.pitch), Packed{});
  }
}

struct RowGradient {
  float top, inverse, factor;
  std::int64_t label, cols;

  __device__ void store(const Operand& logits, const Operand& to) const {
    const std::int64_t step = row_threads * pack;
    for (std::int64_t at = threadIdx.x * pack; at < to.pitch; at += step) {
      const int there = at < cols ? elements_at(at / pack, cols) : 0;
      float x[pack];
      widen(fetch(logits, at, there), DType::f32, x);
      const bool holds_label = label >= at && label < at + there;
#pragma unroll
      for (int i = 0; i < pack; ++i) {
        x[i] = exp_f32(x[i] - top);
        const float miss = i < there ? x[i] * inverse * factor : 0.0f;
        if (holds_label && at + i == label) {
          x[i] = ::fmaf(x[i], inverse, -1.0f) * factor;
        } else {
          x[i] = miss;
        }
      }
      put(to, at, elements_at(at / pack, to.pitch), narrow(x, to.type));
    }
  }
};

/// A block a row, the last row first: its logits are the likeliest to be in the cache still. Bytes
/// an element: 4 for the logits, which a chunk's second reading finds in the cache, + the gradient.
__global__ void __launch_bounds__(row_threads)
    cross_entropy_kernel(const __grid_constant__ LossOperands args) {
  __shared__ float tops[row_warps];
  __shared__ double sums[row_warps];
  const std::int64_t row = gridDim.x - 1 - blockIdx.x, label = args.labels[row];
  const Operand logits = args.logits.row(row), gradient = args.gradient.row(row);
  if (label == ignored_label) {
    if (args.scale != nullptr) clear_row(gradient);
    return;
  }
  Softmax mine;
  const std::int64_t step = row_threads * pack;
  for (std::int64_t at = threadIdx.x * pack; at < args.cols; at += step) {
    const int count = elements_at(at / pack, args.cols);
    float x[pack];
    widen(fetch(logits, at, count), DType::f32, x);
    mine.add(x, count);
  }
  const float named = reinterpret_cast<const float*>(logits.data)[label];
  const float warp_top = warp_largest(mine.top);
  if (threadIdx.x % warp == 0) tops[threadIdx.x / warp] = warp_top;
  __syncthreads();
  float top = tops[0];
  for (const float other : tops) top = other > top ? other : top;
  // The barrier inside also keeps the gradient from overwriting the label's logit too early.
  const double sum =
      row_sum<row_warps>(static_cast<double>(mine.sum * exp_f32(mine.top - top)), sums);
  if (threadIdx.x == 0) {
    count_row(args.sums, ::log(sum) + (static_cast<double>(top) - static_cast<double>(named)));
  }
  if (args.scale == nullptr) return;
  const RowGradient row_gradient{.top = top,
                                 .inverse = static_cast<float>(1.0 / sum),
                                 .factor = gradient_factor(args.scale, args.nominal),
                                 .label = label,
                                 .cols = args.cols};
  row_gradient.store(logits, gradient);
}

// --- squared error ----------------------------------------------------------------------------

constexpr unsigned error_threads = 256;

struct ErrorOperands {
  const float *out, *target;
  float* d_out;
  const float* scale;
  double nominal;
  LossSum* sums;
  Shape shape;
};

/// A warp a row. Bytes an element: 8, and 12 more with a gradient less what the cache keeps.
__global__ void __launch_bounds__(error_threads)
    squared_error_kernel(const __grid_constant__ ErrorOperands args) {
  const std::int64_t row = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / warp;
  if (row >= args.shape.rows) return;
  const std::int64_t cols = args.shape.cols, from = row * cols;
  const unsigned lane = threadIdx.x % warp;
  const bool masked = isnan(args.target[from]);
  double loss = 0;
  for (std::int64_t i = lane; i < cols && !masked; i += warp) {
    const double gap =
        static_cast<double>(args.out[from + i]) - static_cast<double>(args.target[from + i]);
    loss += 0.5 * gap * gap;
  }
  loss = warp_sum(loss);  // also before d_out, which may be the target, is written
  if (lane == 0 && !masked) count_row(args.sums, loss);
  if (args.d_out == nullptr) return;
  const float factor = gradient_factor(args.scale, args.nominal);
  for (std::int64_t i = lane; i < cols; i += warp) {
    args.d_out[from + i] = masked ? 0.0f : (args.out[from + i] - args.target[from + i]) * factor;
  }
}

}  // namespace

void cross_entropy(const CrossEntropyArgs& args, StreamRef stream) {
  const auto [rows, cols] = args.logits.shape;
  if (rows == 0 || cols == 0) return;
  const LossOperands operands{.logits = Operand(args.logits),
                              .gradient = Operand(args.d_logits ? args.d_logits : args.logits),
                              .labels = args.labels.as<const std::int32_t>(),
                              .scale = args.scale,
                              .nominal = args.nominal,
                              .sums = args.sums,
                              .cols = cols};
  launch(cross_entropy_kernel, static_cast<unsigned>(rows), row_threads, stream_of(stream),
         operands);
  check_launch("cross_entropy (launch)");
}

void squared_error(const SquaredErrorArgs& args, StreamRef stream) {
  const Shape shape = args.out.shape;
  if (shape.numel() == 0) return;
  const ErrorOperands operands{.out = args.out.as<const float>(),
                               .target = args.target.as<const float>(),
                               .d_out = args.d_out.as<float>(),
                               .scale = args.scale,
                               .nominal = args.nominal,
                               .sums = args.sums,
                               .shape = shape};
  const Launch grid = one_thread_each(shape.rows * warp, error_threads);
  launch(squared_error_kernel, grid.blocks, grid.threads, stream_of(stream), operands);
  check_launch("squared_error (launch)");
}

}  // namespace sherd::cuda
