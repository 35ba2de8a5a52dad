// Rotary embedding without a norm gives the CPU's bits; with one, the sum of a head is in another
// order than the CPU's (fixed: by threads, then a butterfly).
#include "cuda/kernels/rotary.cuh"
#include "cuda/kernels/twins.hpp"

namespace sherd::cuda {
namespace {

__global__ void __launch_bounds__(turn_threads)
    turns_kernel(const __grid_constant__ RotaryFrequencies frequencies, std::int64_t length,
                 int pairs, std::int64_t first_position, float* turns) {
  const std::int64_t index = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const std::int64_t position = index / pairs, pair = index % pairs;
  if (position >= length) return;
  const Turn turn =
      rotary_turn(static_cast<double>(first_position + position), frequencies.at[pair]);
  turns[position * 2 * pairs + pair] = turn.cosine;
  turns[position * 2 * pairs + pairs + pair] = turn.sine;
}

/// The head and the eight pairs of this thread; none where `count` is 0. No device holds so many
/// heads that 32 bits do not count them.
struct HeadPlace {
  unsigned row, head;
  std::int64_t at;  // its first element
  int begin, count;

  __device__ explicit HeadPlace(const TurningRows& rows) {
    const unsigned unit = blockIdx.x * (turn_threads / rows.group) + threadIdx.x / rows.group;
    row = unit / rows.turning;
    head = unit % rows.turning;
    begin = static_cast<int>(threadIdx.x % rows.group) * pack;
    at = std::int64_t{head} * rows.head_dim + begin;
    const int left = rows.pairs - begin;
    count = row >= rows.rows || left < 0 ? 0 : (left < pack ? left : pack);
  }
};

struct Turning {
  Operand in, out;
  TurningRows at;
  const float* turns;
};
/// Bytes an element: in + out; the turns stay in the caches.
template <bool back>
__global__ void __launch_bounds__(turn_threads) turn_kernel(Turning args) {
  const HeadPlace place(args.at);
  if (place.count == 0) return;
  HeadPairs x;
  x.load(args.in.row(place.row), place.at, args.at.pairs, place.count);
  const float* turns = args.at.turns_of(args.turns, place.row) + place.begin;
  x.turn<back>(turns, args.at.pairs, place.count);
  x.store(args.out.row(place.row), place.at, args.at.pairs, place.count);
}

struct NormTurning {
  Turning turning;
  Operand q_gain, k_gain;
  float* rstd;
  float eps;
};
/// Bytes an element: in + out; four bytes a head.
__global__ void __launch_bounds__(turn_threads) norm_turn_kernel(NormTurning args) {
  const TurningRows& at = args.turning.at;
  const HeadPlace place(at);
  HeadPairs x, gain;
  if (place.count > 0) {
    x.load(args.turning.in.row(place.row), place.at, at.pairs, place.count);
    gain.load(place.head < at.heads ? args.q_gain : args.k_gain, place.begin, at.pairs,
              place.count);
  }
  float square = 0;
#pragma unroll
  for (int i = 0; i < pack; ++i) {
    square = ::fmaf(x.first[i], x.first[i], square);
    square = ::fmaf(x.second[i], x.second[i], square);
  }
  const float mean = head_sum(square, at.group) / static_cast<float>(at.head_dim);
  if (place.count == 0) return;
  const float rstd = 1.0f / ::sqrtf(mean + args.eps);
  if (place.begin == 0) args.rstd[std::int64_t{place.row} * at.turning + place.head] = rstd;
#pragma unroll
  for (int i = 0; i < pack; ++i) {
    x.first[i] = x.first[i] * rstd * gain.first[i];
    x.second[i] = x.second[i] * rstd * gain.second[i];
  }
  const float* turns = at.turns_of(args.turning.turns, place.row) + place.begin;
  x.turn<false>(turns, at.pairs, place.count);
  x.store(args.turning.out.row(place.row), place.at, at.pairs, place.count);
}

/// Bytes an element: from + to.
__global__ void __launch_bounds__(256)
    copy_columns_kernel(Operand from, Operand to, unsigned each_row, std::int64_t cols) {
  const auto [row, at, count] = place_in_row(each_row, cols);
  if (count <= 0) return;
  float x[pack];
  widen(fetch(from.row(row), at, count), from.type, x);
  put(to.row(row), at, count, narrow(x, to.type));
}

unsigned blocks_for(const TurningRows& at) {
  return static_cast<unsigned>(ceil_div(at.rows * at.turning, turn_threads / at.group));
}

}  // namespace

void fill_turns(const Rotary& rotary, const TurningRows& at, std::int64_t first_position,
                float* turns, cudaStream_t on) {
  const Launch grid = one_thread_each(at.length * at.pairs, turn_threads);
  launch(turns_kernel, grid.blocks, grid.threads, on, rotary_frequencies(rotary, at.head_dim),
         at.length, at.pairs, first_position, turns);
  check_launch("rotary (turns)");
}

void carry_values(const View& from, const View& to, const AttentionShape& shape, cudaStream_t on) {
  if (from.data == to.data && from.type == to.type) return;
  const std::int64_t first = shape.width() + shape.kv_width(), cols = shape.kv_width();
  const RowBlocks cut = row_blocks(cols);
  launch(copy_columns_kernel, blocks_of(cut, shape.rows()), cut.threads, on,
         columns(from, first, cols), columns(to, first, cols), cut.each_row, cols);
  check_launch("rotary (values)");
}

template <bool back>
void turn_heads(const View& from, const View& to, const AttentionShape& shape, const float* turns,
                cudaStream_t on) {
  const TurningRows at(shape);
  const Turning args{head_rows(from, at), head_rows(to, at), at, turns};
  launch(turn_kernel<back>, blocks_for(at), turn_threads, on, args);
  check_launch("rotary (launch)");
  carry_values(from, to, shape, on);
}
template void turn_heads<true>(const View&, const View&, const AttentionShape&, const float*,
                               cudaStream_t);

void rotary(const RotaryArgs& args, StreamRef stream) {
  if (args.shape.rows() == 0) return;
  const TurningRows at(args.shape);
  const cudaStream_t on = stream_of(stream);
  auto* turns = args.scratch.as<float>();
  fill_turns(args.rotary, at, args.first_position, turns, on);
  if (!args.q_gain) return turn_heads<false>(args.in, args.out, args.shape, turns, on);
  const auto gain = [&](const View& view) {
    return head_rows(view.reshaped({1, at.head_dim}), at);
  };
  const NormTurning norm{{head_rows(args.in, at), head_rows(args.out, at), at, turns},
                         gain(args.q_gain),
                         gain(args.k_gain),
                         args.rstd.as<float>(),
                         args.eps};
  launch(norm_turn_kernel, blocks_for(at), turn_threads, on, norm);
  check_launch("rotary (launch)");
  carry_values(args.in, args.out, args.shape, on);
}

}  // namespace sherd::cuda
