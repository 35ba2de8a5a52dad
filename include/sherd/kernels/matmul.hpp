#pragma once
// Dense products on row-major views. fp32 runs the library's GEMM on fixed output tiles, one thread
// a tile, so bits depend on shapes alone; 16-bit operands are widened by panels into scratch,
// multiplied in fp32 and rounded once.
#include "sherd/device/stream.hpp"
#include "sherd/kernels/grad.hpp"

namespace sherd::kernels {

enum class Transpose : std::uint8_t { no, yes };

/// out[m,n] (=|+=) op(a)[m,k] · op(b)[k,n] + bias[n]; a GELU of the result only where it is set.
struct MatmulArgs {
  View a{};  // [m,k], or [k,m] if transposed; fp32, bf16 or fp16
  View b{};  // [k,n], or [n,k] if transposed; fp32, bf16 or fp16, independent of a
  Transpose transpose_a = Transpose::no, transpose_b = Transpose::no;
  View out{};  // [m,n] fp32, bf16 or fp16; overlaps neither operand
  Write mode = Write::set;
  View bias{};                    // [1,n] fp32, bf16 or fp16, added after the product; or absent
  View before_gelu{};             // [m,n] as out: keeps the result, and out is its GELU; or absent
  View gelu_of{};                 // [m,n]: the result is multiplied by gelu'(gelu_of); or absent
  const Philox* round = nullptr;  // bf16 out: stochastic rounding; null: to nearest
  View scratch{};  // at least matmul_scratch bytes, 64-byte aligned; may be absent if that is 0
};

/// Bytes for any product of up to these dimensions; `operands` is the 16-bit type if either operand
/// has one. At most 8 MiB + 4 MiB a thread; 0 where all is fp32 and every dimension below 512.
[[nodiscard]] Bytes matmul_scratch(std::int64_t m, std::int64_t n, std::int64_t k, DType operands,
                                   DType out, const Target& target);
void matmul(const MatmulArgs& args, StreamRef stream);

/// to[1,n] (=|+=) column sums of d_out[rows,n], rows in a fixed order.
struct BiasGradientArgs {
  View d_out{};
  Grad to{};
  View scratch{};  // bias_gradient_scratch bytes; may be absent if that is 0
};
[[nodiscard]] Bytes bias_gradient_scratch(std::int64_t cols, const Target& target);
void bias_gradient(const BiasGradientArgs& args, StreamRef stream);

/// The path taken on this machine: "oneDNN 2.6.3 f32, panels widened to f32".
[[nodiscard]] std::string_view matmul_path(DType operands);

}  // namespace sherd::kernels
