#include "kernels/cpu/matmul.hpp"

#include "kernels/cpu/gemm.hpp"
#include "kernels/cpu/matrix_vector.hpp"
#include "kernels/cpu/panel.hpp"
#include "sherd/base/units.hpp"

namespace sherd::kernels::cpu {
namespace {

std::int64_t pieces(std::int64_t length, std::int64_t piece) {
  return (length + piece - 1) / piece;
}

// Equal shares of `length` below `most`, in whole vectors.
std::int64_t even(std::int64_t length, std::int64_t most) {
  const std::int64_t share = pieces(length, pieces(length, most));
  return std::min(length, pieces(share, 16) * 16);
}

struct Span {
  std::int64_t first = 0, count = 0;
};
Span span_of(std::int64_t index, std::int64_t piece, std::int64_t length) {
  return {index * piece, std::min(piece, length - index * piece)};
}

/// One output tile and the private memory of the worker that computes it.
struct Tile {
  const MatmulArgs& args;
  Span rows, cols;
  float *a_panel, *b_panel, *c_tile;

  [[nodiscard]] std::int64_t depth() const {
    return args.transpose_a == Transpose::no ? args.a.shape.cols : args.a.shape.rows;
  }
};

// The library reads rows of op(a) and columns of op(b) along k; the other way it walks across rows.
bool in_panels(const View& whole, bool across) {
  return is_half(whole.type) || (across && whole.shape.cols >= long_row);
}
bool a_in_panels(const MatmulArgs& args) {
  return in_panels(args.a, args.transpose_a == Transpose::yes);
}
bool b_in_panels(const MatmulArgs& args) {
  return in_panels(args.b, args.transpose_b == Transpose::no);
}

// Rows and columns of op(whole) as the library wants them: where they lie, or in `panel` if any.
Operand operand(const View& whole, Transpose transpose, Span rows, Span cols, float* panel) {
  if (transpose == Transpose::yes) std::swap(rows, cols);
  const Source from = source(whole).at(rows.first, cols.first);
  if (panel == nullptr) return {reinterpret_cast<const float*>(from.data), from.stride, transpose};
  const std::int64_t stride = padded(cols.count);
  widen(from, {rows.count, cols.count}, panel, stride);
  return {panel, stride, transpose};
}

void multiply(const Tile& tile, std::int64_t step, float* c, std::int64_t c_stride, float beta) {
  const MatmulArgs& args = tile.args;
  for (std::int64_t first = 0; first < tile.depth(); first += step) {
    const Span inner{first, std::min(step, tile.depth() - first)};
    gemm({.m = tile.rows.count,
          .n = tile.cols.count,
          .k = inner.count,
          .a = operand(args.a, args.transpose_a, tile.rows, inner, tile.a_panel),
          .b = operand(args.b, args.transpose_b, inner, tile.cols, tile.b_panel),
          .c = c,
          .c_stride = c_stride,
          .beta = first == 0 ? beta : 1});
  }
}

// Bias, what was there, one rounding: row by row while the row is in the first cache.
void finish_half(const Tile& tile, std::int64_t stride) {
  const MatmulArgs& args = tile.args;
  const std::int64_t count = tile.cols.count;
  for (std::int64_t row = 0; row < tile.rows.count; ++row) {
    float* values = tile.c_tile + row * stride;
    const Sink to = sink(args.out).at(tile.rows.first + row, tile.cols.first);
    if (args.bias) add_widened(source(args.bias).at(0, tile.cols.first), values, count);
    if (args.mode == Write::add) add_widened({to.data, to.type, to.stride}, values, count);
    if (args.round == nullptr) {
      narrow(values, stride, {1, count}, to);
    } else {
      const std::int64_t element = (tile.rows.first + row) * args.out.shape.cols + tile.cols.first;
      narrow_stochastic(values, reinterpret_cast<bfloat16*>(to.data), count, *args.round,
                        static_cast<std::uint64_t>(element));
    }
  }
}

void compute(const Tile& tile, std::int64_t step) {
  const MatmulArgs& args = tile.args;
  if (args.out.type != DType::f32) {
    const std::int64_t stride = padded(tile.cols.count);
    multiply(tile, step, tile.c_tile, stride, 0);
    finish_half(tile, stride);
    return;
  }
  const std::int64_t stride = args.out.row_pitch();
  float* c = args.out.as<float>() + tile.rows.first * stride + tile.cols.first;
  multiply(tile, step, c, stride, args.mode == Write::add ? 1 : 0);
  if (!args.bias) return;
  const Source bias = source(args.bias).at(0, tile.cols.first);
  for (std::int64_t row = 0; row < tile.rows.count; ++row) {
    add_widened(bias, c + row * stride, tile.cols.count);
  }
}

}  // namespace

Tiling tiling(std::int64_t m, std::int64_t n, std::int64_t k) {
  Tiling tile{even(m, largest_tile.rows), even(n, largest_tile.cols), even(k, largest_tile.depth)};
  // A small output is cut finer so that several workers share it, as long as a tile stays worth it.
  constexpr std::int64_t wanted = 8, smallest = 256 * 192;
  while (pieces(m, tile.rows) * pieces(n, tile.cols) < wanted &&
         tile.rows * tile.cols >= 2 * smallest) {
    if (tile.cols > tile.rows) {
      tile.cols = even(n, pieces(tile.cols, 2));
    } else {
      tile.rows = even(m, pieces(tile.rows, 2));
    }
  }
  return tile;
}

PanelSizes panel_sizes(const Tiling& largest, Operands operands, DType out) {
  const auto panel = [](std::int64_t rows, std::int64_t cols) {
    return pieces(std::max(rows * padded(cols), cols * padded(rows)), 16) * 16;
  };
  PanelSizes sizes;
  if (operands == Operands::through_panels) {
    sizes.a = panel(largest.rows, largest.depth);
    sizes.b = panel(largest.cols, largest.depth);
  }
  if (is_half(out)) sizes.c = largest.rows * padded(largest.cols);
  return sizes;
}

void matmul(const MatmulArgs& args, StreamRef stream) {
  if (is_matrix_vector(args)) return matrix_vector(args, stream.workers());
  const std::int64_t m = args.out.shape.rows, n = args.out.shape.cols;
  const std::int64_t k = args.a.numel() / m;
  const bool a_panel = a_in_panels(args), b_panel = b_in_panels(args);
  const Tiling cut = tiling(m, n, k);
  const PanelSizes sizes = panel_sizes(
      cut, a_panel || b_panel ? Operands::through_panels : Operands::in_place, args.out.type);
  const std::int64_t row_tiles = pieces(m, cut.rows), col_tiles = pieces(n, cut.cols);
  // Neighbours in the list share columns, so one wide strip of b serves several of them from cache.
  stream.workers().run(row_tiles * col_tiles, [&](std::int64_t index, int worker) {
    float* own = args.scratch.as<float>() + worker * sizes.total();
    compute({.args = args,
             .rows = span_of(index % row_tiles, cut.rows, m),
             .cols = span_of(index / row_tiles, cut.cols, n),
             .a_panel = a_panel ? own : nullptr,
             .b_panel = b_panel ? own + sizes.a : nullptr,
             .c_tile = own + sizes.a + sizes.b},
            a_panel || b_panel ? cut.depth : k);
  });
}

}  // namespace sherd::kernels::cpu
