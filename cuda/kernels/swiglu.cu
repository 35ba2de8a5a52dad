// One pass, eight elements of gate and of up a thread, the CPU's bits.
#include "sherd/kernels/swiglu.hpp"

#include "cuda/device/queue.hpp"
#include "cuda/kernels/access.cuh"
#include "cuda/kernels/row_cut.cuh"
#include "cuda/kernels/run.cuh"
#include "cuda/kernels/twins.hpp"
#include "sherd/kernels/swiglu_math.hpp"

namespace sherd::cuda {
namespace {

/// Halves of rows that hold two.
struct Halves {
  Operand gate, up;
  explicit Halves(const View& view)
      : gate(columns(view, 0, view.shape.cols / 2)),
        up(columns(view, view.shape.cols / 2, view.shape.cols / 2)) {}
};

/// Bytes an element: gate + up + out.
__global__ void __launch_bounds__(256)
    swiglu_kernel(Halves in, Operand out, unsigned each_row, std::int64_t ffn) {
  const auto [row, at, count] = place_in_row(each_row, ffn);
  if (count <= 0) return;
  const Packed gates = fetch(in.gate.row(row), at, count), ups = fetch(in.up.row(row), at, count);
  float x[pack], y[pack];
  widen(gates, in.gate.type, x);
  widen(ups, in.up.type, y);
#pragma unroll
  for (int i = 0; i < pack; ++i) x[i] = swiglu_element(x[i], y[i]);
  put(out.row(row), at, count, narrow(x, out.type));
}

/// Bytes an element: gate + up + d_out + d_gate + d_up.
__global__ void __launch_bounds__(256) swiglu_backward_kernel(Halves in, Operand d_out, Halves d_in,
                                                              unsigned each_row, std::int64_t ffn) {
  const auto [row, at, count] = place_in_row(each_row, ffn);
  if (count <= 0) return;
  const Packed gates = fetch(in.gate.row(row), at, count), ups = fetch(in.up.row(row), at, count),
               slopes = fetch(d_out.row(row), at, count);
  float x[pack], y[pack], dy[pack];
  widen(gates, in.gate.type, x);
  widen(ups, in.up.type, y);
  widen(slopes, d_out.type, dy);
#pragma unroll
  for (int i = 0; i < pack; ++i) {
    const SwigluSlopes d = swiglu_slopes(x[i], y[i], dy[i]);
    x[i] = d.gate;
    y[i] = d.up;
  }
  put(d_in.gate.row(row), at, count, narrow(x, d_in.gate.type));
  put(d_in.up.row(row), at, count, narrow(y, d_in.up.type));
}

}  // namespace

void swiglu(View gate_up, View out, StreamRef stream) {
  const auto [rows, ffn] = out.shape;
  if (rows == 0 || ffn == 0) return;
  const RowBlocks cut = row_blocks(ffn);
  launch(swiglu_kernel, blocks_of(cut, rows), cut.threads, stream_of(stream), Halves(gate_up),
         Operand(out), cut.each_row, ffn);
  check_launch("swiglu (launch)");
}
void swiglu_backward(View gate_up, View d_out, View d_gate_up, StreamRef stream) {
  const auto [rows, ffn] = d_out.shape;
  if (rows == 0 || ffn == 0) return;
  const RowBlocks cut = row_blocks(ffn);
  launch(swiglu_backward_kernel, blocks_of(cut, rows), cut.threads, stream_of(stream),
         Halves(gate_up), Operand(d_out), Halves(d_gate_up), cut.each_row, ffn);
  check_launch("swiglu_backward (launch)");
}

}  // namespace sherd::cuda
