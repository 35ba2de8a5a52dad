// Frozen parameters from 8 bits, with the CPU's bits.
#include "sherd/kernels/block8.hpp"

#include "cuda/device/queue.hpp"
#include "cuda/kernels/run.cuh"
#include "cuda/kernels/twins.hpp"
#include "cuda/kernels/update_state.cuh"

namespace sherd::cuda {
namespace {

constexpr unsigned block_threads = 256;
constexpr int blocks_each = 8;  // of a multiprocessor

/// Bytes an element: 1.016 and what out takes. A warp takes a block, so its scale is one access.
__global__ void __launch_bounds__(block_threads)
    decode_kernel(Operand blocks, Operand out, std::int64_t numel,
                  const __grid_constant__ Block8Map map) {
  constexpr unsigned words = sizeof(Block8Map) / sizeof(float);
  __shared__ float shared[words];  // each lane looks up other entries
  const auto* from = reinterpret_cast<const float*>(&map);
  for (unsigned i = threadIdx.x; i < words; i += blockDim.x) shared[i] = from[i];
  __syncthreads();
  const auto& entries = *reinterpret_cast<const Block8Map*>(shared);
  const std::int64_t packs = ceil_div(numel, pack), step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < packs; i += step) {
    float x[pack];
    open_moment<DType::q8>(
        fetch_moment<DType::q8>(blocks, i * pack, pack),
        [&](std::uint8_t code, float scale) { return decode_m(code, scale, entries); }, x);
    put(out, i * pack, pack,
        out.type == DType::f32 ? narrow(x, out.type) : narrow_stored(x, out.type));
  }
}

}  // namespace

void decode_blocks(View blocks, View out, StreamRef stream) {
  const std::int64_t numel = out.numel();
  if (numel == 0) return;
  const Launch grid =
      resident(ceil_div(numel, pack), block_threads, stream.queue().multiprocessors, blocks_each);
  launch(decode_kernel, grid.blocks, grid.threads, stream_of(stream), flat(blocks), flat(out),
         numel, signed8);
  check_launch("decode_blocks (launch)");
}

}  // namespace sherd::cuda
