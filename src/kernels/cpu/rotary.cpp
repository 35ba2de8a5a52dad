#include "kernels/cpu/rotary.hpp"

#include "kernels/cpu/blocks.hpp"
#include "kernels/cpu/column_sums.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rotary.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/dot-inl.hpp"
#include "sherd/kernels/rotary_math.hpp"

HWY_BEFORE_NAMESPACE();
namespace sherd::kernels::cpu::HWY_NAMESPACE {

static_assert(largest_rotary_head <= block);

/// turns: [positions, head_dim], cosines of a position's pairs, then their sines.
void fill_turns(const RotaryFrequencies& frequencies, std::int64_t head_dim,
                std::int64_t first_position, std::int64_t count, float* turns) {
  const std::int64_t pairs = head_dim / 2;
  for (std::int64_t p = 0; p < count; ++p) {
    const auto position = static_cast<double>(first_position + p);
    float *cosine = turns + p * head_dim, *sine = cosine + pairs;
#pragma GCC ivdep
    for (std::int64_t i = 0; i < pairs; ++i) {
      const Turn turn = rotary_turn(position, frequencies.at[i]);
      cosine[i] = turn.cosine;
      sine[i] = turn.sine;
    }
  }
}

inline void turn_head(const float* x, const float* turns, std::int64_t pairs, float* y) {
  const float *cosine = turns, *sine = turns + pairs;
#pragma GCC ivdep
  for (std::int64_t i = 0; i < pairs; ++i) {
    const Pair pair = rotate({x[i], x[i + pairs]}, {cosine[i], sine[i]});
    y[i] = pair.first;
    y[i + pairs] = pair.second;
  }
}
inline void turn_head_back(const float* x, const float* turns, std::int64_t pairs, float* y) {
  const float *cosine = turns, *sine = turns + pairs;
#pragma GCC ivdep
  for (std::int64_t i = 0; i < pairs; ++i) {
    const Pair pair = rotate_back({x[i], x[i + pairs]}, {cosine[i], sine[i]});
    y[i] = pair.first;
    y[i + pairs] = pair.second;
  }
}

/// The heads that turn, queries' and then keys', lie side by side in a row; values follow.
struct Layout {
  std::int64_t heads, turning, head_dim, length, width;
  explicit Layout(const AttentionShape& s)
      : heads(s.heads),
        turning(s.heads + s.key_heads()),
        head_dim(s.head_dim),
        length(s.length),
        width(s.qkv_width()) {}
  [[nodiscard]] std::int64_t first_of(std::int64_t row, std::int64_t head) const {
    return row * width + head * head_dim;
  }
  [[nodiscard]] const float* turns_of(const float* turns, std::int64_t row) const {
    return turns + row % length * head_dim;
  }
};

inline void carry_values(const Layout& at, View from, View to, std::int64_t row) {
  if (from.data == to.data && from.type == to.type) return;
  float space[block];
  const std::int64_t end = at.first_of(row + 1, 0);
  for (std::int64_t i = at.first_of(row, at.turning); i < end; i += block) {
    const std::int64_t n = std::min(block, end - i);
    narrow(widen(from, i, n, space), to, i, n);
  }
}

void rotary_rows(const RotaryArgs& args, const float* turns, std::int64_t first,
                 std::int64_t count) {
  const Layout at(args.shape);
  const std::int64_t n = at.head_dim;
  const bool norms = static_cast<bool>(args.q_gain);
  float x_space[block], hat[block], out_space[block], gain_space[2][block];
  const float* gains[2] = {};
  if (norms) gains[0] = widen(args.q_gain, 0, n, gain_space[0]);
  if (norms) gains[1] = widen(args.k_gain, 0, n, gain_space[1]);
  for (std::int64_t row = first; row < first + count; ++row) {
    for (std::int64_t head = 0; head < at.turning; ++head) {
      const std::int64_t from = at.first_of(row, head);
      const float* x = widen(args.in, from, n, x_space);
      if (norms) {
        const float rstd = 1.0f / ::sqrtf(dot(x, x, n) / static_cast<float>(n) + args.eps);
        args.rstd.as<float>()[row * at.turning + head] = rstd;
        const float* gain = gains[head < at.heads ? 0 : 1];
#pragma GCC ivdep
        for (std::int64_t i = 0; i < n; ++i) hat[i] = x[i] * rstd * gain[i];
        x = hat;
      }
      float* y = window(args.out, from, out_space);
      turn_head(x, at.turns_of(turns, row), n / 2, y);
      narrow(y, args.out, from, n);
    }
    carry_values(at, args.in, args.out, row);
  }
}

/// What the norm of one head makes of `slope`, the gradient of its result; adds to the gain's.
inline void norm_back(const float* x, const float* gain, float rstd, std::int64_t n, float* slope,
                      float* d_gain) {
  float hat[block], weighted[block];
#pragma GCC ivdep
  for (std::int64_t i = 0; i < n; ++i) {
    hat[i] = x[i] * rstd;
    weighted[i] = slope[i] * gain[i];
    d_gain[i] = ::fmaf(slope[i], hat[i], d_gain[i]);
  }
  const float along = dot(weighted, hat, n) / static_cast<float>(n);
#pragma GCC ivdep
  for (std::int64_t i = 0; i < n; ++i) slope[i] = rstd * ::fmaf(-hat[i], along, weighted[i]);
}

/// partial: [2, head_dim], the gains' gradients of this block of rows.
void rotary_backward_rows(const RotaryBackwardArgs& args, const float* turns, std::int64_t first,
                          std::int64_t count, float* partial) {
  const Layout at(args.shape);
  const std::int64_t n = at.head_dim;
  const bool norms = static_cast<bool>(args.q_gain);
  float x_space[block], slope_space[block], d_in_space[block], gain_space[2][block];
  const float* gains[2] = {};
  if (norms) gains[0] = widen(args.q_gain, 0, n, gain_space[0]);
  if (norms) gains[1] = widen(args.k_gain, 0, n, gain_space[1]);
  if (norms) std::memset(partial, 0, static_cast<std::size_t>(2 * n) * sizeof(float));
  for (std::int64_t row = first; row < first + count; ++row) {
    for (std::int64_t head = 0; head < at.turning; ++head) {
      const std::int64_t from = at.first_of(row, head);
      const float* dy = widen(args.d_out, from, n, slope_space);
      float* slope = window(args.d_in, from, d_in_space);
      turn_head_back(dy, at.turns_of(turns, row), n / 2, slope);
      if (norms) {
        const int which = head < at.heads ? 0 : 1;
        norm_back(widen(args.in, from, n, x_space), gains[which],
                  args.rstd.as<float>()[row * at.turning + head], n, slope, partial + which * n);
      }
      narrow(slope, args.d_in, from, n);
    }
    carry_values(at, args.d_out, args.d_in, row);
  }
}

}  // namespace sherd::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sherd::kernels::cpu {

HWY_EXPORT(fill_turns);
HWY_EXPORT(rotary_rows);
HWY_EXPORT(rotary_backward_rows);

namespace {

constexpr std::int64_t rows_each = 16;

void fill_all_turns(const Rotary& rotary, const AttentionShape& shape, std::int64_t first_position,
                    float* turns, device::Workers& workers) {
  const RotaryFrequencies frequencies = rotary_frequencies(rotary, shape.head_dim);
  run_chunks(workers, shape.length, rows_each, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(fill_turns)
    (frequencies, shape.head_dim, first_position + first, count, turns + first * shape.head_dim);
  });
}

}  // namespace

std::int64_t gain_floats(const AttentionShape& shape) {
  return sum_blocks(shape.rows()) * 2 * shape.head_dim;
}

void rotary(const RotaryArgs& args, device::Workers& workers) {
  auto* turns = args.scratch.as<float>();
  fill_all_turns(args.rotary, args.shape, args.first_position, turns, workers);
  run_chunks(workers, args.shape.rows(), rows_each, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(rotary_rows)(args, turns, first, count);
  });
}

void rotary_backward(const RotaryBackwardArgs& args, device::Workers& workers) {
  const std::int64_t rows = args.shape.rows(), unit = sum_block_rows(rows);
  const std::int64_t stride = 2 * args.shape.head_dim;
  auto* turns = args.scratch.as<float>();
  float* partials = turns + turn_floats(args.shape);
  fill_all_turns(args.rotary, args.shape, args.first_position, turns, workers);
  run_chunks(workers, rows, unit, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(rotary_backward_rows)
    (args, turns, first, count, partials + first / unit * stride);
  });
  if (!args.q_gain) return;
  store_column_sums({partials, sum_blocks(rows), stride}, args.d_q_gain, workers);
  store_column_sums({partials + args.shape.head_dim, sum_blocks(rows), stride}, args.d_k_gain,
                    workers);
}

}  // namespace sherd::kernels::cpu
#endif
