// Column sums: read once, 16 bytes a thread, fp32 sums of a fixed cut of the rows, then one thread
// a column adds the parts in order. Bytes: rows·cols·size + 8·parts·cols.
#include "cuda/device/check.hpp"
#include "cuda/device/queue.hpp"
#include "cuda/kernels/twins.hpp"
#include "cuda/kernels/typed.hpp"
#include "sherd/kernels/device_scratch.hpp"

namespace sherd::cuda {
namespace {

constexpr int lanes = 32, walkers = 8;  // threads along columns and along rows

template <class T, std::size_t width>
struct alignas(sizeof(T) * width) Pack {
  T at[width];
};

struct Sums {
  const std::byte* from = nullptr;
  std::int64_t rows = 0, cols = 0, pitch = 0, rows_per_part = 0;
  float* parts = nullptr;  // [parts, cols]
};

template <class T, int width>
__global__ void __launch_bounds__(lanes* walkers) sum_parts(Sums s) {
  const auto x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const std::int64_t first_col = static_cast<std::int64_t>(blockIdx.x) * lanes * width;
  const std::int64_t col = first_col + x * width;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.y) * s.rows_per_part;
  const std::int64_t last = min(s.rows, first + s.rows_per_part);
  float sum[width] = {};
  if (col < s.cols) {
    const T* from = reinterpret_cast<const T*>(s.from) + col;
#pragma unroll 4
    for (std::int64_t row = first + y; row < last; row += walkers) {
      const auto pack =
          *reinterpret_cast<const Pack<T, static_cast<std::size_t>(width)>*>(from + row * s.pitch);
#pragma unroll
      for (int i = 0; i < width; ++i) sum[i] += to_float(pack.at[i]);
    }
  }
  __shared__ float of_walker[walkers][width][lanes];
#pragma unroll
  for (int i = 0; i < width; ++i) of_walker[y][i][x] = sum[i];
  __syncthreads();
  for (int at = y * lanes + x; at < lanes * width; at += lanes * walkers) {
    const int lane = at / width, i = at % width;
    float total = 0;
#pragma unroll
    for (int walker = 0; walker < walkers; ++walker) total += of_walker[walker][i][lane];
    if (first_col + at < s.cols) s.parts[blockIdx.y * s.cols + first_col + at] = total;
  }
}

__global__ void add_parts(const float* parts, std::int64_t count, std::int64_t cols, GradTo to) {
  const std::int64_t col = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (col >= cols) return;
  float sum = 0;
#pragma unroll 8
  for (std::int64_t part = 0; part < count; ++part) sum += parts[part * cols + col];
  if (to.add) sum += load(to.to, col);
  write<1>(to, col, {{sum, 0, 0, 0}});
}

template <class T>
void launch(const Sums& s, unsigned parts, const View& from, cudaStream_t stream) {
  constexpr int wide = static_cast<int>(16 / sizeof(T));
  const bool packed = s.cols % wide == 0 && s.pitch % wide == 0 &&
                      reinterpret_cast<std::uintptr_t>(from.data) % 16 == 0;
  const int cols = lanes * (packed ? wide : 1);
  const dim3 grid(static_cast<unsigned>((s.cols + cols - 1) / cols), parts), block(lanes, walkers);
  if (packed) {
    sum_parts<T, wide><<<grid, block, 0, stream>>>(s);
  } else {
    sum_parts<T, 1><<<grid, block, 0, stream>>>(s);
  }
  check_launch("bias_gradient (parts)");
}

}  // namespace

void bias_gradient(const kernels::BiasGradientArgs& args, StreamRef stream) {
  const View& from = args.d_out;
  const std::int64_t rows = from.shape.rows, cols = from.shape.cols;
  if (cols == 0) return;
  const std::int64_t each = kernels::device_scratch::rows_per_part(rows);
  const std::int64_t parts = rows == 0 ? 1 : (rows + each - 1) / each;
  const Sums sums{from.data, rows, cols, from.row_pitch(), each, args.scratch.as<float>()};
  const auto count = static_cast<unsigned>(parts);
  if (from.type == DType::f32) {
    launch<float>(sums, count, from, stream_of(stream));
  } else if (from.type == DType::bf16) {
    launch<bfloat16>(sums, count, from, stream_of(stream));
  } else {
    launch<float16>(sums, count, from, stream_of(stream));
  }
  constexpr int threads = 128;
  const auto blocks = static_cast<unsigned>((cols + threads - 1) / threads);
  add_parts<<<blocks, threads, 0, stream_of(stream)>>>(sums.parts, parts, cols, grad_to(args.to));
  check_launch("bias_gradient (columns)");
}

}  // namespace sherd::cuda
