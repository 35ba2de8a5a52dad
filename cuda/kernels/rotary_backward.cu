// Back through the rotation: without a norm the CPU's bits; with one, sums of a head and over rows
// are in other orders than the CPU's, all of them fixed.
#include "cuda/kernels/column_sums.hpp"
#include "cuda/kernels/rotary.cuh"
#include "cuda/kernels/twins.hpp"

namespace sherd::cuda {
namespace {

struct NormBack {
  Operand d_out, d_in, in, q_gain, k_gain;
  TurningRows at;
  const float *turns, *rstd;
  float* partials;  // [parts, q and k, head_dim]
};

/// Sums of slope · x̂ that a thread keeps for its pairs of every query head, and of every key head.
struct GainSums {
  float q[2 * pack] = {}, k[2 * pack] = {};
};

__device__ inline void add_sums(const HeadPairs& x, float rstd, const HeadPairs& slope,
                                float (&sums)[2 * pack]) {
#pragma unroll
  for (int i = 0; i < pack; ++i) {
    sums[i] = ::fmaf(slope.first[i], x.first[i] * rstd, sums[i]);
    sums[pack + i] = ::fmaf(slope.second[i], x.second[i] * rstd, sums[pack + i]);
  }
}
/// `slope` becomes the gradient of x. Every thread of the warp takes part.
__device__ inline void norm_back(const HeadPairs& x, const HeadPairs& gain, float rstd,
                                 const TurningRows& at, HeadPairs& slope) {
  float product = 0;
  HeadPairs hat;
#pragma unroll
  for (int i = 0; i < pack; ++i) {
    hat.first[i] = x.first[i] * rstd;
    hat.second[i] = x.second[i] * rstd;
    slope.first[i] *= gain.first[i];
    slope.second[i] *= gain.second[i];
    product = ::fmaf(slope.first[i], hat.first[i], product);
    product = ::fmaf(slope.second[i], hat.second[i], product);
  }
  const float along = head_sum(product, at.group) / static_cast<float>(at.head_dim);
#pragma unroll
  for (int i = 0; i < pack; ++i) {
    slope.first[i] = rstd * ::fmaf(-hat.first[i], along, slope.first[i]);
    slope.second[i] = rstd * ::fmaf(-hat.second[i], along, slope.second[i]);
  }
}

/// Adds the groups of a block, in order, into its part.
__device__ inline void store_sums(const GainSums& own, const TurningRows& at, float* partial) {
  __shared__ float shared[turn_threads][4 * pack + 1];
#pragma unroll
  for (int i = 0; i < 2 * pack; ++i) {
    shared[threadIdx.x][i] = own.q[i];
    shared[threadIdx.x][2 * pack + i] = own.k[i];
  }
  __syncthreads();
  for (unsigned col = threadIdx.x; col < 2u * static_cast<unsigned>(at.head_dim);
       col += turn_threads) {
    const auto element = static_cast<int>(col) % at.head_dim;
    const int which = static_cast<int>(col) / at.head_dim, half = element / at.pairs;
    const int pair = element % at.pairs;
    float sum = 0;
    for (unsigned first = 0; first < turn_threads; first += at.group) {
      sum += shared[first + static_cast<unsigned>(pair / pack)]
                   [(which * 2 + half) * pack + pair % pack];
    }
    partial[col] = sum;
  }
}

/// A block takes rows blockIdx.x, blockIdx.x + parts, …; its groups of threads take heads in turn.
/// Bytes an element: d_out + in + d_in.
__global__ void __launch_bounds__(turn_threads, 2) norm_back_kernel(NormBack args) {
  const TurningRows& at = args.at;
  const unsigned groups = turn_threads / at.group, group = threadIdx.x / at.group;
  const int begin = static_cast<int>(threadIdx.x % at.group) * pack, left = at.pairs - begin;
  const int most = left < 0 ? 0 : (left < pack ? left : pack);
  HeadPairs q_gain, k_gain;
  if (most > 0) q_gain.load(args.q_gain, begin, at.pairs, most);
  if (most > 0) k_gain.load(args.k_gain, begin, at.pairs, most);
  GainSums sums;
  for (unsigned row = blockIdx.x; row < at.rows; row += gridDim.x) {
    const float* turns = at.turns_of(args.turns, row) + begin;
    for (unsigned round = 0; round < at.turning; round += groups) {
      const unsigned head = round + group;
      const int count = head < at.turning ? most : 0;
      const std::int64_t from = std::int64_t{head} * at.head_dim + begin;
      HeadPairs slope, x;
      float rstd = 0;
      if (count > 0) {
        slope.load(args.d_out.row(row), from, at.pairs, count);
        x.load(args.in.row(row), from, at.pairs, count);
        rstd = args.rstd[std::int64_t{row} * at.turning + head];
        slope.turn<true>(turns, at.pairs, count);
      }
      if (head < at.heads) {
        add_sums(x, rstd, slope, sums.q);
      } else {
        add_sums(x, rstd, slope, sums.k);
      }
      HeadPairs gain;  // element by element: registers have no address
#pragma unroll
      for (int i = 0; i < pack; ++i) {
        gain.first[i] = head < at.heads ? q_gain.first[i] : k_gain.first[i];
        gain.second[i] = head < at.heads ? q_gain.second[i] : k_gain.second[i];
      }
      norm_back(x, gain, rstd, at, slope);
      if (count > 0) slope.store(args.d_in.row(row), from, at.pairs, count);
    }
  }
  store_sums(sums, at, args.partials + std::int64_t{blockIdx.x} * 2 * at.head_dim);
}

}  // namespace

void rotary_backward(const RotaryBackwardArgs& args, StreamRef stream) {
  const TurningRows at(args.shape);
  const cudaStream_t on = stream_of(stream);
  auto* turns = args.scratch.as<float>();
  float* partials = turns + at.length * at.head_dim;
  const std::int64_t parts = std::min(at.rows, device_scratch::rotary_parts);
  if (parts > 0) fill_turns(args.rotary, at, args.first_position, turns, on);
  if (!args.q_gain) {
    if (parts > 0) turn_heads<true>(args.d_out, args.d_in, args.shape, turns, on);
    return;
  }
  if (parts > 0) {
    const auto gain = [&](const View& view) {
      return head_rows(view.reshaped({1, at.head_dim}), at);
    };
    const NormBack back{head_rows(args.d_out, at),
                        head_rows(args.d_in, at),
                        head_rows(args.in, at),
                        gain(args.q_gain),
                        gain(args.k_gain),
                        at,
                        turns,
                        args.rstd.as<const float>(),
                        partials};
    launch(norm_back_kernel, static_cast<unsigned>(parts), turn_threads, on, back);
    check_launch("rotary_backward (launch)");
    carry_values(args.d_out, args.d_in, args.shape, on);
  }
  if (!args.d_q_gain.to && !args.d_k_gain.to) return;
  store_column_sums({partials, parts, at.head_dim, 2}, args.d_q_gain, args.d_k_gain, on);
}

}  // namespace sherd::cuda
