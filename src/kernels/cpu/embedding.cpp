#include "kernels/cpu/embedding.hpp"

#include "kernels/cpu/blocks.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/embedding.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/block-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace sherd::kernels::cpu::HWY_NAMESPACE {

void embedding_rows(const EmbeddingArgs& args, std::int64_t first, std::int64_t count) {
  const std::int64_t width = args.table.shape.cols, length = args.tokens.shape.cols;
  const auto* tokens = args.tokens.as<const std::int32_t>();
  float table_space[block], position_space[block], out_space[block];
  for (std::int64_t row = first; row < first + count; ++row) {
    for (std::int64_t at = 0; at < width; at += block) {
      const std::int64_t n = std::min(block, width - at);
      const float* x = widen(args.table, tokens[row] * width + at, n, table_space);
      if (!args.positions) {
        narrow(x, args.out, row * width + at, n);
        continue;
      }
      const float* p = widen(args.positions, row % length * width + at, n, position_space);
      float* y = window(args.out, row * width + at, out_space);
#pragma GCC ivdep
      for (std::int64_t i = 0; i < n; ++i) y[i] = x[i] + p[i];
      narrow(y, args.out, row * width + at, n);
    }
  }
}

/// Row `to_row` of the gradient (=|+=) the named rows of d_out, one after the other.
void add_rows(const View& d_out, const RowSum& from, const Grad& grad, std::int64_t to_row) {
  if (from.count == 0 && grad.mode == Write::add) return;
  const std::int64_t width = d_out.shape.cols;
  float sum[block], space[block];
  for (std::int64_t at = 0; at < width; at += block) {
    const std::int64_t n = std::min(block, width - at), to = to_row * width + at;
    if (grad.mode == Write::set) {
      std::memset(sum, 0, sizeof sum);
    } else if (const float* there = widen(grad.to, to, n, sum); there != sum) {
      std::memcpy(sum, there, static_cast<std::size_t>(n) * sizeof(float));
    }
    for (std::int64_t k = 0; k < from.count; ++k) {
      const std::int64_t row = from.rows != nullptr ? from.rows[k] : from.first + k * from.stride;
      const float* x = widen(d_out, row * width + at, n, space);
#pragma GCC ivdep
      for (std::int64_t i = 0; i < n; ++i) sum[i] += x[i];
    }
    narrow_stochastic(sum, grad.to, to, n, grad.round, static_cast<std::uint64_t>(to));
  }
}

}  // namespace sherd::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sherd::kernels::cpu {

HWY_EXPORT(embedding_rows);
HWY_EXPORT(add_rows);

namespace {

// Batch positions grouped by token, in batch order inside a group: a stable counting sort.
// starts[t] … starts[t + 1] are those of token t.
void group_by_token(const View& tokens, std::int64_t vocabulary, std::int32_t* starts,
                    std::int32_t* order) {
  const auto named = tokens.span<const std::int32_t>();
  std::fill_n(starts, vocabulary + 1, 0);
  for (const std::int32_t token : named) ++starts[token];
  std::int32_t total = 0;
  for (std::int64_t t = 0; t <= vocabulary; ++t) starts[t] = total += starts[t];
  for (std::size_t i = named.size(); i-- > 0;) {
    order[--starts[named[i]]] = static_cast<std::int32_t>(i);
  }
}

}  // namespace

void embedding(const EmbeddingArgs& args, device::Workers& workers) {
  run_chunks(workers, args.tokens.numel(), 16, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(embedding_rows)(args, first, count);
  });
}

void embedding_backward(const EmbeddingBackwardArgs& args, device::Workers& workers) {
  if (args.d_table.to) {
    const std::int64_t vocabulary = args.d_table.to.shape.rows;
    auto* starts = args.scratch.as<std::int32_t>();
    std::int32_t* order = starts + vocabulary + 1;
    group_by_token(args.tokens, vocabulary, starts, order);
    const std::int64_t unit = std::clamp<std::int64_t>(vocabulary / 64, 1, 64);
    run_chunks(workers, vocabulary, unit, [&](std::int64_t first, std::int64_t count) {
      for (std::int64_t t = first; t < first + count; ++t) {
        HWY_DYNAMIC_DISPATCH(add_rows)
        (args.d_out, {order + starts[t], starts[t + 1] - starts[t], 0, 0}, args.d_table, t);
      }
    });
  }
  if (args.d_positions.to) {
    const std::int64_t length = args.tokens.shape.cols, sequences = args.tokens.shape.rows;
    run_chunks(
        workers, args.d_positions.to.shape.rows, 4, [&](std::int64_t first, std::int64_t count) {
          for (std::int64_t p = first; p < first + count; ++p) {
            HWY_DYNAMIC_DISPATCH(add_rows)
            (args.d_out, {nullptr, p < length ? sequences : 0, p, length}, args.d_positions, p);
          }
        });
  }
}

}  // namespace sherd::kernels::cpu
#endif
