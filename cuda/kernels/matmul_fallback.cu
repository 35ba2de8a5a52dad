// Bytes of finish_product: 4 + 2 an element (fp32 in, 16 bits out) and the operands it is given.
#include "cuda/device/check.hpp"
#include "cuda/device/queue.hpp"
#include "cuda/kernels/matmul_fallback.hpp"
#include "sherd/kernels/gelu_math.hpp"

namespace sherd::cuda {
namespace {

using kernels::MatmulArgs;
using kernels::Transpose;

constexpr int threads = 256;

// --- the product ------------------------------------------------------------------------------

constexpr int side = 64, depth = 16;  // of an output tile, 4 x 4 elements a thread

/// An operand as op(x)[outer, k]: element (i, k) at i·outer_step + k·inner_step.
struct Walk {
  Elements from{};
  std::int64_t outer = 0, outer_step = 0, inner_step = 0;
};
struct PlainProduct {
  Walk a{}, b{};  // b as [n, k]
  float* out = nullptr;
  std::int64_t pitch = 0, k = 0, row_tiles = 0;
  bool add = false;
};

// Neighbouring threads read neighbouring addresses, whichever way the operand lies.
__device__ void fill(const Walk& walk, std::int64_t first, std::int64_t first_k, std::int64_t k,
                     float (&tile)[depth][side + 4]) {
  for (int index = static_cast<int>(threadIdx.x); index < side * depth; index += threads) {
    const bool along = walk.inner_step == 1;
    const int i = along ? index / depth : index % side;
    const int inner = along ? index % depth : index / side;
    const std::int64_t at = first + i, at_k = first_k + inner;
    const bool inside = at < walk.outer && at_k < k;
    tile[inner][i] = inside ? load(walk.from, at * walk.outer_step + at_k * walk.inner_step) : 0.0f;
  }
}

__global__ void __launch_bounds__(threads) multiply_plainly(PlainProduct p) {
  __shared__ float a[depth][side + 4], b[depth][side + 4];
  const std::int64_t first_row = static_cast<std::int64_t>(blockIdx.x) % p.row_tiles * side;
  const std::int64_t first_col = static_cast<std::int64_t>(blockIdx.x) / p.row_tiles * side;
  const int y = static_cast<int>(threadIdx.x) / 16, x = static_cast<int>(threadIdx.x) % 16;
  float sum[4][4] = {};
  for (std::int64_t first_k = 0; first_k < p.k; first_k += depth) {
    fill(p.a, first_row, first_k, p.k, a);
    fill(p.b, first_col, first_k, p.k, b);
    __syncthreads();
#pragma unroll
    for (int inner = 0; inner < depth; ++inner) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          sum[i][j] = ::fmaf(a[inner][y * 4 + i], b[inner][x + 16 * j], sum[i][j]);
        }
      }
    }
    __syncthreads();  // the tiles are filled again
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const std::int64_t row = first_row + y * 4 + i, col = first_col + x + 16 * j;
      if (row >= p.a.outer || col >= p.b.outer) continue;
      float* to = p.out + row * p.pitch + col;
      *to = p.add ? *to + sum[i][j] : sum[i][j];
    }
  }
}

Walk walk(const View& view, std::int64_t outer, bool inner_contiguous) {
  return {elements(view), outer, inner_contiguous ? view.row_pitch() : 1,
          inner_contiguous ? 1 : view.row_pitch()};
}

// --- what follows -----------------------------------------------------------------------------

struct Finish {
  Elements sum{};
  std::int64_t cols = 0;
  std::int64_t first = 0, count = 0;  // elements of the whole result: the first, and how many
  Elements out{}, bias{}, before{}, slope{};  // absent: no data
  bool add = false, stochastic = false;
  Philox bits{};
};

template <int columns>
__device__ void finish(const Finish& f, std::int64_t row, std::int64_t col,
                       const PhiloxBlock& words, std::int64_t element) {
  FourWords value = read<columns>(f.sum, row * f.sum.pitch + col);
  const std::int64_t to = row * f.out.pitch + col;
  FourWords bias{}, there{}, x{};
  if (f.bias.data != nullptr) bias = read<columns>(f.bias, col);
  if (f.add) there = read<columns>(f.out, to);
  if (f.slope.data != nullptr) x = read<columns>(f.slope, row * f.slope.pitch + col);
#pragma unroll
  for (int i = 0; i < columns; ++i) {
    if (f.bias.data != nullptr) value.at[i] += bias.at[i];
    if (f.add) value.at[i] += there.at[i];
    if (f.slope.data != nullptr) {
      value.at[i] = rounded(value.at[i], f.out.type) * kernels::gelu_slope_element(x.at[i]);
    }
  }
  if (f.before.data != nullptr) {
    write<columns>(f.before, row * f.before.pitch + col, value);
#pragma unroll
    for (int i = 0; i < columns; ++i) {
      value.at[i] = kernels::gelu_element(rounded(value.at[i], f.before.type));
    }
  }
  if (!f.stochastic) return write<columns>(f.out, to, value);
  auto* half = reinterpret_cast<bfloat16*>(f.out.data);
  if constexpr (columns == 4) {
    store4(half, to, value, words);
  } else {
    half[to] = to_bfloat16_stochastic(value.at[0], word_of(words, element));
  }
}

// Four elements a thread: those that share a block of random bits.
template <int columns>
__global__ void __launch_bounds__(threads) finish_rows(Finish f) {
  const std::int64_t group = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;
  const std::int64_t begin = f.first / 4 * 4 + group * 4;
  if (begin >= f.first + f.count) return;
  PhiloxBlock words{};
  if (f.stochastic) words = philox_block(f.bits, static_cast<std::uint64_t>(begin) / 4);
  // Before the first element there is nothing: a group may begin there.
  std::int64_t row = begin < f.first ? 0 : (begin - f.first) / f.cols;
  std::int64_t col = begin < f.first ? 0 : (begin - f.first) % f.cols;
  if constexpr (columns == 4) {
    finish<4>(f, row, col, words, begin);
  } else {
    for (std::int64_t at = begin; at < begin + 4; ++at) {
      if (at < f.first || at >= f.first + f.count) continue;
      finish<1>(f, row, col, words, at);
      if (++col == f.cols) {
        col = 0;
        ++row;
      }
    }
  }
}

}  // namespace

void plain_product(const MatmulArgs& args, StreamRef stream) {
  const std::int64_t m = args.out.shape.rows, n = args.out.shape.cols;
  const bool turned = args.transpose_a == Transpose::yes;
  PlainProduct p;
  p.a = walk(args.a, m, !turned);
  p.b = walk(args.b, n, args.transpose_b == Transpose::yes);
  p.out = args.out.as<float>();
  p.pitch = args.out.row_pitch();
  p.k = turned ? args.a.shape.rows : args.a.shape.cols;
  p.row_tiles = (m + side - 1) / side;
  p.add = args.mode == Write::add;
  const std::int64_t tiles = p.row_tiles * ((n + side - 1) / side);
  multiply_plainly<<<static_cast<unsigned>(tiles), threads, 0, stream_of(stream)>>>(p);
  check_launch("matmul (plain product)");
}

void finish_product(const FinishArgs& args, StreamRef stream) {
  const MatmulArgs& product = *args.product;
  Finish f;
  f.sum = elements(args.sum);
  f.cols = product.out.shape.cols;
  f.first = args.first_row * f.cols;
  f.count = product.out.numel();
  f.out = elements(product.out);
  f.bias = elements(product.bias);
  f.before = elements(product.before_gelu);
  f.slope = elements(product.gelu_of);
  f.add = product.mode == Write::add && args.sum.data != product.out.data;
  f.stochastic = product.round != nullptr;
  if (f.stochastic) f.bits = *product.round;
  const std::int64_t groups = f.count / 4 + 2;  // the first and the last may be cut
  const auto blocks = static_cast<unsigned>((groups + threads - 1) / threads);
  // Whole groups: columns, and so the first element, are multiples of four.
  if (in_fours(args.sum) && in_fours(product.out) && in_fours(product.bias) &&
      in_fours(product.before_gelu) && in_fours(product.gelu_of)) {
    finish_rows<4><<<blocks, threads, 0, stream_of(stream)>>>(f);
  } else {
    finish_rows<1><<<blocks, threads, 0, stream_of(stream)>>>(f);
  }
  check_launch("matmul (finish)");
}

}  // namespace sherd::cuda
