// The gradient of a lookup, the CPU's bits: tokens sorted stably, so each distinct one owns a run
// of batch positions in batch order; a thread adds its columns of those rows one after the other.
// Bytes: d_out once, the named rows of the table once or twice, and the sort's ~60 a token.
#include <bit>
#include <cub/device/device_radix_sort.cuh>
#include <string>

#include "cuda/device/check.hpp"
#include "cuda/device/queue.hpp"
#include "cuda/kernels/twins.hpp"
#include "cuda/kernels/typed.hpp"
#include "sherd/kernels/device_scratch.hpp"

namespace sherd::cuda {
namespace {

namespace room = kernels::device_scratch;

constexpr int threads = 64;

/// The rows of d_out that one row of a gradient adds: those of `order`, or a first and a stride.
struct RowList {
  const std::int32_t* order = nullptr;
  std::int64_t first = 0, stride = 0, count = 0;
  [[nodiscard]] __device__ std::int64_t row(std::int64_t k) const {
    return order != nullptr ? order[k] : first + k * stride;
  }
};

// Row `to_row` of the gradient at columns col …: loads in flight eight at a time, sums in order.
template <int columns>
__device__ void add_rows(const Elements& d_out, const RowList& list, const GradTo& grad,
                         std::int64_t to_row, std::int64_t col) {
  constexpr int batch = 8;
  const std::int64_t to = to_row * grad.to.pitch + col;
  FourWords sum{};
  if (grad.add) sum = read<columns>(grad.to, to);
  for (std::int64_t k = 0; k < list.count; k += batch) {
    FourWords x[batch];
#pragma unroll
    for (int i = 0; i < batch; ++i) {
      if (k + i < list.count) x[i] = read<columns>(d_out, list.row(k + i) * d_out.pitch + col);
    }
#pragma unroll
    for (int i = 0; i < batch; ++i) {
      if (k + i >= list.count) break;
#pragma unroll
      for (int c = 0; c < columns; ++c) sum.at[c] += x[i].at[c];
    }
  }
  write<columns>(grad, to, sum);
}

__global__ void count_up(std::int32_t* to, std::int64_t count) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count) to[i] = static_cast<std::int32_t>(i);
}

/// Tokens sorted, and the batch positions they came from.
struct Sorted {
  const std::uint32_t* tokens = nullptr;
  const std::int32_t* order = nullptr;
  std::int64_t count = 0;
};

// One past the last place of the run that starts at `begin`: doubling steps, then halving.
__device__ std::int64_t run_end(const Sorted& sorted, std::int64_t begin) {
  const std::uint32_t token = sorted.tokens[begin];
  std::int64_t low = begin, step = 1;  // tokens[low] is in the run
  while (low + step < sorted.count && sorted.tokens[low + step] == token) {
    low += step;
    step *= 2;
  }
  for (; step > 0; step /= 2) {
    if (low + step < sorted.count && sorted.tokens[low + step] == token) low += step;
  }
  return low + 1;
}

template <int columns>
__global__ void __launch_bounds__(threads)
    add_runs(Elements d_out, Sorted sorted, GradTo grad, std::int64_t width) {
  const std::int64_t begin = blockIdx.x;
  const std::int64_t col =
      (static_cast<std::int64_t>(blockIdx.y) * threads + threadIdx.x) * columns;
  const std::uint32_t token = sorted.tokens[begin];
  if (col >= width || (begin > 0 && sorted.tokens[begin - 1] == token)) return;
  const RowList list{sorted.order + begin, 0, 0, run_end(sorted, begin) - begin};
  add_rows<columns>(d_out, list, grad, token, col);
}

template <int columns>
__global__ void __launch_bounds__(threads)
    add_places(Elements d_out, Shape tokens, GradTo grad, std::int64_t width) {
  const std::int64_t place = blockIdx.x;
  const std::int64_t col =
      (static_cast<std::int64_t>(blockIdx.y) * threads + threadIdx.x) * columns;
  if (col >= width) return;
  const RowList list{nullptr, place, tokens.cols, place < tokens.cols ? tokens.rows : 0};
  add_rows<columns>(d_out, list, grad, place, col);
}

dim3 grid(std::int64_t rows, std::int64_t width, int columns) {
  const std::int64_t each = static_cast<std::int64_t>(threads) * columns;
  return {static_cast<unsigned>(rows), static_cast<unsigned>((width + each - 1) / each), 1};
}

/// The four arrays and the library's room in `scratch`, as device_scratch::embedding_backward
/// counts them.
struct SortRoom {
  std::int32_t* places = nullptr;  // 0, 1, 2 …
  std::uint32_t* tokens = nullptr;
  std::int32_t* order = nullptr;
  std::byte* tool = nullptr;
};
SortRoom cut(const View& scratch, std::int64_t count) {
  const Bytes array = round_up(static_cast<Bytes>(count) * 4, 256);
  const auto at = [&](Bytes index) { return scratch.data + index * array; };
  return {reinterpret_cast<std::int32_t*>(at(0)), reinterpret_cast<std::uint32_t*>(at(1)),
          reinterpret_cast<std::int32_t*>(at(2)), at(3)};
}

Sorted sort(const kernels::EmbeddingBackwardArgs& args, cudaStream_t stream) {
  const std::int64_t count = args.tokens.numel();
  const SortRoom to = cut(args.scratch, count);
  const int size = static_cast<int>(count);
  const auto vocabulary = static_cast<std::uint64_t>(args.d_table.to.shape.rows);
  const int bits = std::max(1, static_cast<int>(std::bit_width(vocabulary - 1)));
  const auto* keys = args.tokens.as<const std::uint32_t>();  // tokens are not negative
  std::size_t need = 0;
  check(cub::DeviceRadixSort::SortPairs(nullptr, need, keys, to.tokens, to.places, to.order, size,
                                        0, bits, stream),
        "embedding_backward (size of the sort)");
  const Bytes have = room::sort_storage(count);
  if (need > have) {
    throw DeviceError("embedding_backward: CUB's radix sort of " + std::to_string(count) +
                      " tokens asks for " + std::to_string(need) + " bytes, the plan has " +
                      std::to_string(have));
  }
  constexpr int block = 256;
  count_up<<<static_cast<unsigned>((count + block - 1) / block), block, 0, stream>>>(to.places,
                                                                                     count);
  check_launch("embedding_backward (places)");
  std::size_t size_of_tool = have;
  check(cub::DeviceRadixSort::SortPairs(to.tool, size_of_tool, keys, to.tokens, to.places, to.order,
                                        size, 0, bits, stream),
        "embedding_backward (sort)");
  return {to.tokens, to.order, count};
}

bool wide(const kernels::EmbeddingBackwardArgs& args, const View& to) {
  const View rows{args.d_out.data, {args.tokens.numel(), args.d_out.shape.cols}, args.d_out.type};
  return in_fours(rows) && in_fours(to);
}

void table_gradient(const kernels::EmbeddingBackwardArgs& args, cudaStream_t stream) {
  const View& table = args.d_table.to;
  if (args.d_table.mode == Write::set) {
    check(cudaMemsetAsync(table.data, 0, table.bytes(), stream), "embedding_backward (zero)");
  }
  const std::int64_t count = args.tokens.numel(), width = table.shape.cols;
  if (count == 0) return;
  const Sorted sorted = sort(args, stream);
  const Elements d_out{args.d_out.data, args.d_out.type, width};
  const GradTo to = grad_to(args.d_table);
  if (wide(args, table)) {
    add_runs<4><<<grid(count, width, 4), threads, 0, stream>>>(d_out, sorted, to, width);
  } else {
    add_runs<1><<<grid(count, width, 1), threads, 0, stream>>>(d_out, sorted, to, width);
  }
  check_launch("embedding_backward (table)");
}

void position_gradient(const kernels::EmbeddingBackwardArgs& args, cudaStream_t stream) {
  const View& positions = args.d_positions.to;
  const std::int64_t width = positions.shape.cols;
  // Past length there is nothing to add.
  const std::int64_t rows = args.d_positions.mode == Write::set
                                ? positions.shape.rows
                                : std::min(positions.shape.rows, args.tokens.shape.cols);
  if (rows == 0) return;
  const Elements d_out{args.d_out.data, args.d_out.type, width};
  const GradTo to = grad_to(args.d_positions);
  const Shape tokens = args.tokens.shape;
  if (wide(args, positions)) {
    add_places<4><<<grid(rows, width, 4), threads, 0, stream>>>(d_out, tokens, to, width);
  } else {
    add_places<1><<<grid(rows, width, 1), threads, 0, stream>>>(d_out, tokens, to, width);
  }
  check_launch("embedding_backward (positions)");
}

}  // namespace

void embedding_backward(const kernels::EmbeddingBackwardArgs& args, StreamRef stream) {
  expects(args.tokens.numel() < (std::int64_t{1} << 31),
          "embedding_backward: got 2^31 tokens or more, need fewer on a device");
  if (args.d_out.shape.cols == 0) return;
  if (args.d_table.to) table_gradient(args, stream_of(stream));
  if (args.d_positions.to) position_gradient(args, stream_of(stream));
}

}  // namespace sherd::cuda
