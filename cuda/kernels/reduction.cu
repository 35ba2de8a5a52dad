// The squared norm and the fold. Both give the CPU's bits: inside a quantum in its order, across
// quanta in integers, across ranks term by term.
#include "sherd/kernels/reduction.hpp"

#include <array>

#include "cuda/device/queue.hpp"
#include "cuda/kernels/access.cuh"
#include "cuda/kernels/exact_add.cuh"
#include "cuda/kernels/run.cuh"
#include "cuda/kernels/twins.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::cuda {
namespace {

constexpr unsigned block_threads = 256;

// --- squared norm -----------------------------------------------------------------------------

// A quantum is summed in eight lanes, element i in lane i mod 8, as on the CPU: one thread a lane.
// Through shared memory, because those threads' elements do not lie side by side.
constexpr int lanes = 8;
constexpr int quanta_held = static_cast<int>(block_threads) / lanes;
constexpr int norm_blocks_each = 4;  // of a multiprocessor: 33 KiB of tile each

/// Bytes from one held quantum to the next: eight elements more, so lanes use different banks.
__host__ __device__ constexpr int quantum_stride(int element) {
  return (static_cast<int>(quantum) + lanes) * element;
}

/// Where access `index` of the held quanta lies in the tile.
template <class T>
__device__ inline T* place_in(unsigned char* tile, int index) {
  constexpr int each = static_cast<int>(access_bytes / sizeof(T));  // elements of an access
  constexpr int accesses = static_cast<int>(quantum) / each;        // of a quantum
  return reinterpret_cast<T*>(tile + index / accesses * quantum_stride(sizeof(T))) +
         index % accesses * each;
}
template <class T>
__device__ inline void hold_quanta(const Operand& x, std::int64_t first, int count,
                                   unsigned char* tile) {
  constexpr int each = static_cast<int>(access_bytes / sizeof(T));
  constexpr int accesses = static_cast<int>(quantum) / each;
  constexpr int turns = quanta_held * accesses / static_cast<int>(block_threads);
  const T* from = reinterpret_cast<const T*>(x.data) + first * quantum;
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(block_threads);
  if (x.wide && count == quanta_held) {  // all loads before the first store
    uint4 loaded[turns];
#pragma unroll
    for (int k = 0; k < turns; ++k) {
      loaded[k] = __ldcs(reinterpret_cast<const uint4*>(from) + thread + k * threads);
    }
#pragma unroll
    for (int k = 0; k < turns; ++k) {
      *reinterpret_cast<uint4*>(place_in<T>(tile, thread + k * threads)) = loaded[k];
    }
    return;
  }
  for (int i = thread; i < count * accesses; i += threads) {
    T* to = place_in<T>(tile, i);
    for (int k = 0; k < each; ++k) to[k] = from[i * each + k];
  }
}

__device__ inline float widened(float x) { return x; }
__device__ inline float widened(bfloat16 x) { return to_float(x); }

/// Every lane of the quantum gets its sum.
template <class T>
__device__ inline double square_quantum(const T* held, int lane, unsigned group) {
  double sum = 0;
#pragma unroll 8
  for (int i = lane; i < static_cast<int>(quantum); i += lanes) {
    const auto x = static_cast<double>(widened(held[i]));
    sum = ::fma(x, x, sum);
  }
  for (int width = lanes / 2; width > 0; width /= 2) {
    sum += __shfl_xor_sync(group, sum, width, lanes);
  }
  return sum;
}
template <class T>
__device__ inline std::int64_t count_nonfinite(const T* held, int lane) {
  std::int64_t count = 0;
  for (int i = lane; i < static_cast<int>(quantum); i += lanes) {
    count += isfinite(widened(held[i])) ? 0 : 1;
  }
  return count;
}

/// Bytes an element: x, once. One exact term a quantum.
template <class T>
__global__ void __launch_bounds__(block_threads, norm_blocks_each)
    square_norm_kernel(Operand x, std::int64_t quanta, NormSum* sum) {
  __shared__ __align__(16) unsigned char tile[quanta_held * quantum_stride(sizeof(T))];
  __shared__ std::int64_t limbs[quanta_held][ExactSum::limbs];  // one sum for each lane group
  const int held = static_cast<int>(threadIdx.x) / lanes,
            lane = static_cast<int>(threadIdx.x) % lanes;
  const unsigned group = 0xffu << (threadIdx.x % warp / lanes * lanes);
  for (int i = lane; i < ExactSum::limbs; i += lanes) limbs[held][i] = 0;
  std::int64_t nonfinite = 0;
  for (std::int64_t first = std::int64_t{blockIdx.x} * quanta_held; first < quanta;
       first += std::int64_t{gridDim.x} * quanta_held) {
    const auto count =
        static_cast<int>(quanta - first < quanta_held ? quanta - first : quanta_held);
    hold_quanta<T>(x, first, count, tile);
    __syncthreads();
    if (held < count) {
      const T* elements = reinterpret_cast<const T*>(tile + held * quantum_stride(sizeof(T)));
      const double squares = square_quantum(elements, lane, group);
      if (!isfinite(squares)) {
        nonfinite += count_nonfinite(elements, lane);
      } else if (lane == 0) {
        reinterpret_cast<ExactSum*>(limbs[held])->add(squares);
      }
    }
    __syncthreads();
  }
  add_integer(&sum->nonfinite, nonfinite);
  if (threadIdx.x >= ExactSum::limbs) return;
  std::int64_t total = 0;
  for (int i = 0; i < quanta_held; ++i) total += limbs[i][threadIdx.x];
  add_integer(&sum->squares.limb[threadIdx.x], total);
}

// --- fold -------------------------------------------------------------------------------------

constexpr int most_sources = 64;
constexpr int overlap = 4;  // sources whose loads are in flight together

struct FoldOperands {
  std::array<const std::byte*, most_sources> sources;
  int count;
  bool add, left, stochastic, wide;
  Operand out;
  Philox round;
  std::uint64_t first;
};

__device__ inline Operand source(const FoldOperands& args, int index) {
  Operand from = args.out;
  from.data = const_cast<std::byte*>(args.sources[static_cast<std::size_t>(index)]);
  from.wide = args.wide;
  return from;
}
__device__ inline void add_to(float (&sum)[pack], const float (&next)[pack]) {
#pragma unroll
  for (int i = 0; i < pack; ++i) sum[i] = sum[i] + next[i];
}

/// The sources' sum in rank order, after `sum` where one is there.
__device__ inline void add_sources(const FoldOperands& args, std::int64_t at, int count,
                                   bool started, float (&sum)[pack]) {
  float next[pack];
  for (int first = 0; first < args.count; first += overlap) {
    Packed loaded[overlap];
#pragma unroll
    for (int k = 0; k < overlap; ++k) {
      if (first + k < args.count) {
        loaded[k] = fetch<Reuse::none>(source(args, first + k), at, count);
      }
    }
#pragma unroll
    for (int k = 0; k < overlap; ++k) {
      if (first + k >= args.count) continue;
      if (!started) {
        widen(loaded[k], args.out.type, sum);
        started = true;
      } else {
        widen(loaded[k], args.out.type, next);
        add_to(sum, next);
      }
    }
  }
}

/// Bytes an element: all sources + out, and out again for add. Nothing is stored before a thread
/// has read its elements of every source, of which out may be one.
__global__ void __launch_bounds__(block_threads)
    fold_kernel(const __grid_constant__ FoldOperands args, std::int64_t numel) {
  const std::int64_t index = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const std::int64_t at = index * pack;
  if (at >= numel) return;
  const int count = elements_at(index, numel);
  float sum[pack] = {}, there[pack] = {};
  if (args.add) widen(fetch(args.out, at, count), args.out.type, args.left ? sum : there);
  add_sources(args, at, count, args.add && args.left, sum);
  if (args.add && !args.left) add_to(sum, there);
  put(args.out, at, count,
      args.stochastic
          ? narrow_stochastic(sum, args.round, args.first + static_cast<std::uint64_t>(at))
          : narrow(sum, args.out.type));
}

/// Bytes an element: 8 for each source and for out. Digests wrap round.
__global__ void __launch_bounds__(block_threads)
    fold_integer_kernel(const __grid_constant__ FoldOperands args, std::int64_t numel) {
  const std::int64_t at = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (at >= numel) return;
  auto* out = reinterpret_cast<std::uint64_t*>(args.out.data) + at;
  std::uint64_t sum = args.add ? *out : 0;
  for (int k = 0; k < args.count; ++k) {
    sum += reinterpret_cast<const std::uint64_t*>(args.sources[static_cast<std::size_t>(k)])[at];
  }
  *out = sum;
}

FoldOperands fold_operands(const FoldArgs& args) {
  expects(args.sources.size() <= most_sources, "fold: got more than 64 sources, need fewer");
  FoldOperands operands{.sources = {},
                        .count = static_cast<int>(args.sources.size()),
                        .add = args.mode == Write::add,
                        .left = args.order == FoldOrder::left,
                        .stochastic = args.round != nullptr,
                        .wide = true,
                        .out = flat(args.out),
                        .round = args.round != nullptr ? *args.round : Philox{},
                        .first = args.first};
  for (std::size_t i = 0; i < args.sources.size(); ++i) {
    operands.sources[i] = args.sources[i];
    const auto address = reinterpret_cast<std::uintptr_t>(args.sources[i]);
    operands.wide = operands.wide && address % access_bytes == 0;
  }
  return operands;
}

}  // namespace

void square_norm(View x, NormSum& sum, StreamRef stream) {
  const std::int64_t quanta = x.numel() / quantum;
  if (quanta == 0) return;
  const Launch grid = resident(ceil_div(quanta, quanta_held) * block_threads, block_threads,
                               stream.queue().multiprocessors, norm_blocks_each);
  const cudaStream_t on = stream_of(stream);
  if (x.type == DType::f32) {
    launch(square_norm_kernel<float>, grid.blocks, grid.threads, on, flat(x), quanta, &sum);
  } else {
    launch(square_norm_kernel<bfloat16>, grid.blocks, grid.threads, on, flat(x), quanta, &sum);
  }
  check_launch("square_norm (launch)");
}

void fold(const FoldArgs& args, StreamRef stream) {
  const std::int64_t numel = args.out.numel();
  if (numel == 0) return;
  const FoldOperands operands = fold_operands(args);
  const cudaStream_t on = stream_of(stream);
  if (args.out.type == DType::i64) {
    const Launch grid = one_thread_each(numel, block_threads);
    launch(fold_integer_kernel, grid.blocks, grid.threads, on, operands, numel);
  } else {
    const Launch grid = over_packs(numel, block_threads);
    launch(fold_kernel, grid.blocks, grid.threads, on, operands, numel);
  }
  check_launch("fold (launch)");
}

}  // namespace sherd::cuda
