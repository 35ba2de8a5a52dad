// Lookup, the CPU's bits: a warp a row. Bytes: the named rows, their positions, and out.
#include "cuda/device/check.hpp"
#include "cuda/device/queue.hpp"
#include "cuda/kernels/twins.hpp"
#include "cuda/kernels/typed.hpp"

namespace sherd::cuda {
namespace {

constexpr int lanes = 32, rows_a_block = 8;

struct Lookup {
  const std::int32_t* tokens = nullptr;
  std::int64_t count = 0, length = 1, width = 0;
  Elements table{}, positions{}, out{};  // positions absent: no data
};

template <int columns>
__device__ void look_up(const Lookup& k, std::int64_t from, std::int64_t place, std::int64_t to) {
  FourWords x = read<columns>(k.table, from);
  if (k.positions.data != nullptr) {
    const FourWords p = read<columns>(k.positions, place);
#pragma unroll
    for (int i = 0; i < columns; ++i) x.at[i] += p.at[i];
  }
  write<columns>(k.out, to, x);
}

template <int columns>
__global__ void __launch_bounds__(lanes* rows_a_block) embedding_rows(Lookup k) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * rows_a_block + threadIdx.y;
  if (row >= k.count) return;
  const std::int64_t from = k.tokens[row] * k.table.pitch;
  const std::int64_t place = row % k.length * k.positions.pitch, to = row * k.out.pitch;
#pragma unroll 4
  for (std::int64_t col = threadIdx.x * columns; col < k.width; col += lanes * columns) {
    look_up<columns>(k, from + col, place + col, to + col);
  }
}

}  // namespace

void embedding(const kernels::EmbeddingArgs& args, StreamRef stream) {
  Lookup k;
  k.tokens = args.tokens.as<const std::int32_t>();
  k.count = args.tokens.numel();
  k.length = args.tokens.shape.cols;
  k.width = args.table.shape.cols;
  k.table = elements(args.table);
  k.positions = elements(args.positions);
  k.out = elements(args.out);
  k.out.pitch = k.width;  // out may come under another shape of as many elements
  if (k.count == 0 || k.width == 0) return;
  const View out{args.out.data, {k.count, k.width}, args.out.type};
  const auto blocks = static_cast<unsigned>((k.count + rows_a_block - 1) / rows_a_block);
  const dim3 block(lanes, rows_a_block);
  if (in_fours(args.table) && in_fours(args.positions) && in_fours(out)) {
    embedding_rows<4><<<blocks, block, 0, stream_of(stream)>>>(k);
  } else {
    embedding_rows<1><<<blocks, block, 0, stream_of(stream)>>>(k);
  }
  check_launch("embedding");
}

}  // namespace sherd::cuda
