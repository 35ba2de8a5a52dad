#pragma once
// Dense products on row-major views. fp32 runs the library's GEMM on fixed output tiles, one thread
// a tile, so bits depend on shapes alone; 16-bit operands are widened by panels into scratch,
// multiplied in fp32 and rounded once.
#include "sherd/device/stream.hpp"
#include "sherd/kernels/grad.hpp"

namespace sherd::kernels {

enum class Transpose : std::uint8_t { no, yes };

/// out[m,n] (=|+=) op(a)[m,k] · op(b)[k,n] + bias[n]
struct MatmulArgs {
  View a{};  // [m,k], or [k,m] if transposed; fp32, bf16 or fp16
  View b{};  // [k,n], or [n,k] if transposed; fp32, bf16 or fp16, independent of a
  Transpose transpose_a = Transpose::no, transpose_b = Transpose::no;
  View out{};  // [m,n] fp32, bf16 or fp16; overlaps neither operand
  Write mode = Write::set;
  View bias{};                    // [1,n] fp32, bf16 or fp16, added after the product; or absent
  const Philox* round = nullptr;  // bf16 out: stochastic rounding; null: to nearest
  View scratch{};  // at least matmul_scratch bytes, 64-byte aligned; may be absent if that is 0
};

/// Bytes for any product of up to these dimensions; `operands` is the 16-bit type if either operand
/// has one. At most 8 MiB + 4 MiB a thread; 0 where all is fp32 and every dimension below 512.
[[nodiscard]] Bytes matmul_scratch(std::int64_t m, std::int64_t n, std::int64_t k, DType operands,
                                   DType out, const Target& target);
void matmul(const MatmulArgs& args, StreamRef stream);

/// to[1,n] (=|+=) column sums of d_out[rows,n], rows in order.
void bias_gradient(View d_out, const Grad& to, StreamRef stream);

/// The path taken on this machine: "oneDNN 2.6.3 f32, panels widened to f32".
[[nodiscard]] std::string_view matmul_path(DType operands);

}  // namespace sherd::kernels
