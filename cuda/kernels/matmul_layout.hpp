#pragma once
// Row-major products as the column-major library sees them. Pure host arithmetic.
#include <algorithm>

#include "sherd/kernels/matmul.hpp"

namespace sherd::cuda {

using kernels::MatmulArgs;
using kernels::Transpose;

/// A column-major matrix as it lies, and whether the product takes its transpose.
struct StoredMatrix {
  Transpose transpose = Transpose::no;
  std::int64_t rows = 0, cols = 0, leading = 0;
  auto operator<=>(const StoredMatrix&) const = default;
};
/// d[m,n] = op(a)[m,k]·op(b)[k,n], column-major.
struct ColumnProduct {
  std::int64_t m = 0, n = 0, k = 0;
  StoredMatrix a{}, b{}, d{};
  auto operator<=>(const ColumnProduct&) const = default;
};

/// A row-major matrix is the column-major one of its transpose, and (x·y)ᵀ = yᵀ·xᵀ: the product's
/// a is args.b, its b args.a, its d args.out, each without a copy.
[[nodiscard]] inline ColumnProduct column_product(const MatmulArgs& args) {
  const auto stored = [](const View& view, Transpose transpose) {
    return StoredMatrix{transpose, view.shape.cols, view.shape.rows, view.row_pitch()};
  };
  const bool turned = args.transpose_a == Transpose::yes;
  return {.m = args.out.shape.cols,
          .n = args.out.shape.rows,
          .k = turned ? args.a.shape.rows : args.a.shape.cols,
          .a = stored(args.b, args.transpose_b),
          .b = stored(args.a, args.transpose_a),
          .d = stored(args.out, Transpose::no)};
}

/// Rows [first, first + count) of the result, computed from what they need.
[[nodiscard]] inline MatmulArgs rows_of(const MatmulArgs& args, std::int64_t first,
                                        std::int64_t count) {
  MatmulArgs part = args;
  if (args.transpose_a == Transpose::no) {
    part.a = args.a.rows(first, count);
  } else {
    part.a = {args.a.data + static_cast<Bytes>(first) * size_of(args.a.type),
              {args.a.shape.rows, count},
              args.a.type,
              args.a.row_pitch()};
  }
  part.out = args.out.rows(first, count);
  if (args.before_gelu) part.before_gelu = args.before_gelu.rows(first, count);
  if (args.gelu_of) part.gelu_of = args.gelu_of.rows(first, count);
  return part;
}

/// Up to 16, beyond which no algorithm asks, so that choices do not depend on where arenas lie.
[[nodiscard]] inline std::uint32_t alignment_of(const void* at) {
  const auto address = reinterpret_cast<std::uintptr_t>(at);
  return static_cast<std::uint32_t>(std::min<std::uintptr_t>(address & (~address + 1), 16));
}

/// What the library does after a product.
enum class Tail : std::uint8_t { none, bias, gelu_slope };

/// Can the library take the whole call: one type of operands, a result of that type or fp32, what
/// follows of the result's type and one thing at a time?
[[nodiscard]] inline bool fits_library(const MatmulArgs& args) {
  const bool typed =
      args.a.type == args.b.type && (args.out.type == DType::f32 || args.out.type == args.a.type);
  const bool biased = !args.bias || (args.bias.type == args.out.type && !args.gelu_of);
  const bool sloped =
      !args.gelu_of || (args.gelu_of.row_pitch() % 8 == 0 && alignment_of(args.gelu_of.data) == 16);
  return typed && biased && sloped && args.round == nullptr;
}
[[nodiscard]] inline Tail tail_of(const MatmulArgs& args) {
  if (args.gelu_of) return Tail::gelu_slope;
  return args.bias ? Tail::bias : Tail::none;
}

}  // namespace sherd::cuda
