#include "sherd/kernels/matmul.hpp"

#include <algorithm>
#include <string>

#include "kernels/cpu/elementwise.hpp"
#include "kernels/cpu/gemm.hpp"
#include "kernels/cpu/matmul.hpp"
#include "kernels/cpu/matrix_vector.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/base/poison.hpp"
#include "sherd/kernels/device_scratch.hpp"
#include "sherd/kernels/interface.hpp"

namespace sherd::kernels {
namespace {

std::string text(Shape shape) {
  std::string all = "[";
  all += std::to_string(shape.rows) + ", " + std::to_string(shape.cols) + "]";
  return all;
}
Shape turned(Shape shape, Transpose transpose) {
  return transpose == Transpose::yes ? Shape{shape.cols, shape.rows} : shape;
}
Bytes scratch_for(const MatmulArgs& args, const Target& target) {
  const Shape a = turned(args.a.shape, args.transpose_a);
  const DType operands = cpu::is_half(args.a.type) ? args.a.type : args.b.type;
  return matmul_scratch(a.rows, args.out.shape.cols, a.cols, operands, args.out.type, target);
}
bool overlaps(const View& x, const View& y) {
  return x.data < y.data + y.bytes() && y.data < x.data + x.bytes();
}

void check_shapes(const MatmulArgs& args) {
  const Shape a = turned(args.a.shape, args.transpose_a);
  const Shape b = turned(args.b.shape, args.transpose_b);
  const Shape out = args.out.shape;
  if (a.cols != b.rows || a.rows != out.rows || b.cols != out.cols || a.cols < 1) {
    throw_usage("matmul: got " + text(a) + " times " + text(b) + " into " + text(out) +
                ", need [m, k] times [k, n] into [m, n] with k >= 1");
  }
  if (args.bias && args.bias.numel() != out.cols) {
    throw_usage("matmul: got a bias of " + std::to_string(args.bias.numel()) + " values, need " +
                std::to_string(out.cols));
  }
}
void check_gelu(const MatmulArgs& args) {
  for (const View& view : {args.before_gelu, args.gelu_of}) {
    expects(!view || (view.shape == args.out.shape && view.type == args.out.type),
            "matmul: got a GELU operand of another size or type, need them as out");
  }
  expects(
      !(args.before_gelu && args.gelu_of) && ((!args.before_gelu && !args.gelu_of) ||
                                              (args.mode == Write::set && args.round == nullptr)),
      "matmul: got a GELU with accumulation, rounding or another GELU, need one alone");
  expects(!args.before_gelu || !overlaps(args.before_gelu, args.out),
          "matmul: got before_gelu inside out, need them apart");
}
void check_types(const MatmulArgs& args) {
  for (const View& view : {args.a, args.b, args.out, args.bias}) {
    if (!cpu::is_float(view.type)) {
      throw_usage("matmul: got " + std::string(name_of(view.type)) + ", need fp32, bf16 or fp16");
    }
  }
  expects(args.round == nullptr || args.out.type == DType::bf16,
          "matmul: got stochastic rounding to another type, need a bf16 output");
}

}  // namespace

Bytes matmul_scratch(std::int64_t m, std::int64_t n, std::int64_t k, DType operands, DType out,
                     const Target& target) {
  if (target.kind == DeviceKind::cuda) return device_scratch::matmul(m, n, out);
  const cpu::Tiling largest{std::min(m, cpu::largest_tile.rows),
                            std::min(n, cpu::largest_tile.cols),
                            std::min(k, cpu::largest_tile.depth)};
  const bool panels = cpu::is_half(operands) || std::max({m, n, k}) >= cpu::long_row;
  const std::int64_t floats =
      cpu::panel_sizes(largest, panels ? cpu::Operands::through_panels : cpu::Operands::in_place,
                       out)
          .total();
  const bool halves = cpu::is_half(operands) || cpu::is_half(out);
  const std::int64_t row = cpu::matrix_vector_floats(n, k, halves);  // where m turns out to be 1
  return static_cast<Bytes>(std::max(floats * target.threads, row)) * sizeof(float);
}

void matmul(const MatmulArgs& args, StreamRef stream) {
  expects(args.a && args.b && args.out, "matmul: got an absent operand, need a, b and out");
  check_types(args);
  check_shapes(args);
  check_gelu(args);
  expects(!overlaps(args.out, args.a) && !overlaps(args.out, args.b),
          "matmul: got an output that overlaps an operand, need them apart");
  const Bytes need = scratch_for(args, target_of(stream));
  const Bytes have = args.scratch ? args.scratch.bytes() : 0;
  if (have < need || reinterpret_cast<std::uintptr_t>(args.scratch.data) % 64 != 0) {
    throw_usage("matmul: got " + std::to_string(have) + " bytes of scratch, need " +
                std::to_string(need) + " aligned to 64");
  }
  if (args.out.numel() == 0) return;
  if (on_device(stream)) return twin(stream).matmul(args, stream);
  // The library is not instrumented: this is where the address sanitizer sees its operands.
  for (const View& view : {args.a, args.b, args.out, args.bias}) touch(view.raw());
  touch(args.scratch.raw().first(need));
  const bool contiguous = args.out.row_pitch() == args.out.shape.cols;
  expects(contiguous || (!args.before_gelu && !args.gelu_of),
          "matmul: got columns of a wider result, need a whole one for GELU beside it");
  if (args.before_gelu) {
    MatmulArgs before = args;
    before.out = args.before_gelu;
    cpu::matmul(before, stream);
    return cpu::gelu(args.before_gelu, args.out, stream.workers());
  }
  cpu::matmul(args, stream);
  if (args.gelu_of) cpu::gelu_backward(args.gelu_of, args.out, args.out, stream.workers());
}

Bytes bias_gradient_scratch(std::int64_t cols, const Target& target) {
  return target.kind == DeviceKind::cuda ? device_scratch::bias_gradient(cols) : 0;
}

void bias_gradient(const BiasGradientArgs& args, StreamRef stream) {
  const auto& [d_out, to, scratch] = args;
  expects(d_out && to.to, "bias_gradient: got an absent operand, need d_out and to");
  expects(cpu::is_float(d_out.type), "bias_gradient: got another type, need fp32, bf16 or fp16");
  expects(to.to.type == DType::f32 || to.to.type == DType::bf16,
          "bias_gradient: got another type of gradient, need fp32 or bf16");
  expects(to.to.numel() == d_out.shape.cols,
          "bias_gradient: got another length, need one value per column");
  expects(scratch.bytes() >= bias_gradient_scratch(d_out.shape.cols, target_of(stream)),
          "bias_gradient: got too little scratch, need bias_gradient_scratch bytes");
  if (on_device(stream)) return twin(stream).bias_gradient(args, stream);
  cpu::bias_gradient(d_out, to, stream);
}

std::string_view matmul_path(DType operands) {
  static const std::string plain = std::string(cpu::gemm_library()) + " f32";
  static const std::string widened = plain + ", panels widened to f32";
  return cpu::is_half(operands) ? widened : plain;
}

}  // namespace sherd::kernels
