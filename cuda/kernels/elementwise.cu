// One pass, eight elements a thread, the CPU's bits. Bytes an element: what each kernel reads and
// writes, 4 for fp32 and 2 for the 16-bit types, is stated with it.
#include "sherd/kernels/elementwise.hpp"

#include "cuda/device/queue.hpp"
#include "cuda/kernels/access.cuh"
#include "cuda/kernels/run.cuh"
#include "cuda/kernels/twins.hpp"
#include "sherd/kernels/gelu_math.hpp"
#include "sherd/kernels/normal_math.hpp"

namespace sherd::cuda {
namespace {

constexpr unsigned block_threads = 256;

__device__ inline std::int64_t thread_index() {
  return std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
}

struct Gelu {
  __device__ float operator()(float x) const { return gelu_element(x); }
};
struct GeluBackward {
  __device__ float operator()(float x, float dy) const { return dy * gelu_slope_element(x); }
};
struct Sum {
  __device__ float operator()(float a, float b) const { return a + b; }
};
struct Times {
  float factor;
  __device__ float operator()(float x) const { return x * factor; }
};
struct Same {
  __device__ float operator()(float x) const { return x; }
};

/// Bytes an element: in + out.
template <class Formula>
__global__ void __launch_bounds__(block_threads)
    map_one(Operand in, Operand out, std::int64_t numel, Formula formula) {
  const std::int64_t index = thread_index(), at = index * pack;
  if (at >= numel) return;
  const int count = elements_at(index, numel);
  float x[pack];
  widen(fetch(in, at, count), in.type, x);
#pragma unroll
  for (int i = 0; i < pack; ++i) x[i] = formula(x[i]);
  put(out, at, count, narrow(x, out.type));
}

/// Bytes an element: a + b + out.
template <class Formula>
__global__ void __launch_bounds__(block_threads)
    map_two(Operand a, Operand b, Operand out, std::int64_t numel, Formula formula) {
  const std::int64_t index = thread_index(), at = index * pack;
  if (at >= numel) return;
  const int count = elements_at(index, numel);
  const Packed left = fetch(a, at, count), right = fetch(b, at, count);
  float x[pack], y[pack];
  widen(left, a.type, x);
  widen(right, b.type, y);
#pragma unroll
  for (int i = 0; i < pack; ++i) x[i] = formula(x[i], y[i]);
  put(out, at, count, narrow(x, out.type));
}

struct DropoutOperands {
  Operand branch, residual, out;
  float p;
  Philox rng;
};
/// Bytes an element: branch + residual + out; ten Philox rounds for four elements.
__global__ void __launch_bounds__(block_threads)
    dropout_kernel(DropoutOperands args, std::int64_t numel) {
  const std::int64_t index = thread_index(), at = index * pack;
  if (at >= numel) return;
  const int count = elements_at(index, numel);
  const bool residual = args.residual.data != nullptr;
  const Packed branch = fetch(args.branch, at, count);
  const Packed there = residual ? fetch(args.residual, at, count) : Packed{};
  std::uint32_t words[pack];
  random_words(args.rng, static_cast<std::uint64_t>(at), words);
  float x[pack];
  widen(branch, args.branch.type, x);
  const float grow = 1.0f / (1.0f - args.p);
#pragma unroll
  for (int i = 0; i < pack; ++i) {
    const float uniform = static_cast<float>(words[i] >> 8) * 0x1p-24f;
    x[i] = uniform >= args.p ? x[i] * grow : 0.0f;
  }
  if (residual) {
    float r[pack];
    widen(there, args.residual.type, r);
#pragma unroll
    for (int i = 0; i < pack; ++i) x[i] = r[i] + x[i];
  }
  put(args.out, at, count, narrow(x, args.out.type));
}

/// bf16 targets are rounded stochastically. Bytes an element: value + out, and out again for add.
__global__ void __launch_bounds__(block_threads)
    accumulate_kernel(Operand value, Operand to, Write mode, Philox round, std::int64_t numel) {
  const std::int64_t index = thread_index(), at = index * pack;
  if (at >= numel) return;
  const int count = elements_at(index, numel);
  const Packed added = fetch(value, at, count);
  const Packed there = mode == Write::add ? fetch(to, at, count) : Packed{};
  float x[pack];
  widen(added, value.type, x);
  if (mode == Write::add) {
    float sum[pack];
    widen(there, to.type, sum);
#pragma unroll
    for (int i = 0; i < pack; ++i) x[i] = sum[i] + x[i];
  }
  if (to.type == DType::bf16) {
    put(to, at, count, narrow_stochastic(x, round, static_cast<std::uint64_t>(at)));
  } else {
    put(to, at, count, narrow(x, to.type));
  }
}

struct Normal {
  float mean, stddev;
  Philox rng;
};
/// One Philox block, two pairs, a thread. Bytes an element: out; bound by fp64 arithmetic.
__global__ void __launch_bounds__(block_threads)
    fill_normal_kernel(Operand to, std::uint64_t first, std::int64_t numel, Normal normal) {
  const std::uint64_t block = first / 4 + static_cast<std::uint64_t>(thread_index());
  const PhiloxBlock words = philox_block(normal.rng, block);
  const auto mean = static_cast<double>(normal.mean), stddev = static_cast<double>(normal.stddev);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    double pair[2];
    normal_pair(words[static_cast<std::size_t>(2 * half)],
                words[static_cast<std::size_t>(2 * half + 1)], pair);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const auto at = static_cast<std::int64_t>(block * 4 + static_cast<unsigned>(2 * half + i) -
                                                first);  // before the first: negative
      if (at < 0 || at >= numel) continue;
      float x[pack] = {static_cast<float>(::fma(stddev, pair[i], mean))};
      put(to, at, 1, narrow(x, to.type));
    }
  }
}

template <class Formula>
void run_one(const View& in, const View& out, Formula formula, StreamRef stream) {
  const std::int64_t numel = out.numel();
  if (numel == 0) return;
  const Launch grid = over_packs(numel, block_threads);
  launch(map_one<Formula>, grid.blocks, grid.threads, stream_of(stream), flat(in), flat(out), numel,
         formula);
  check_launch("element-wise kernel (launch)");
}
template <class Formula>
void run_two(const View& a, const View& b, const View& out, Formula formula, StreamRef stream) {
  const std::int64_t numel = out.numel();
  if (numel == 0) return;
  const Launch grid = over_packs(numel, block_threads);
  launch(map_two<Formula>, grid.blocks, grid.threads, stream_of(stream), flat(a), flat(b),
         flat(out), numel, formula);
  check_launch("element-wise kernel (launch)");
}

}  // namespace

void gelu(View in, View out, StreamRef stream) { run_one(in, out, Gelu{}, stream); }
void gelu_backward(View in, View d_out, View d_in, StreamRef stream) {
  run_two(in, d_out, d_in, GeluBackward{}, stream);
}
void add(View a, View b, View out, StreamRef stream) { run_two(a, b, out, Sum{}, stream); }
void scale(View x, float factor, StreamRef stream) { run_one(x, x, Times{factor}, stream); }

void dropout(const DropoutArgs& args, StreamRef stream) {
  if (args.p == 0 && args.residual) return cuda::add(args.residual, args.branch, args.out, stream);
  if (args.p == 0) return cuda::cast(args.branch, args.out, stream, nullptr);
  const std::int64_t numel = args.out.numel();
  if (numel == 0) return;
  const Launch grid = over_packs(numel, block_threads);
  const DropoutOperands operands{flat(args.branch), flat(args.residual), flat(args.out), args.p,
                                 args.rng};
  launch(dropout_kernel, grid.blocks, grid.threads, stream_of(stream), operands, numel);
  check_launch("dropout (launch)");
}

void cast(View in, View out, StreamRef stream, const Philox* round) {
  if (in.data == out.data && in.type == out.type) return;
  if (round != nullptr) return cuda::accumulate(in, {out, Write::set, *round}, stream);
  run_one(in, out, Same{}, stream);
}

void zero(std::span<std::byte> bytes, StreamRef stream) {
  if (bytes.empty()) return;
  check(cudaMemsetAsync(bytes.data(), 0, bytes.size(), stream_of(stream)), "cudaMemsetAsync");
}

void accumulate(View value, const Grad& to, StreamRef stream) {
  const std::int64_t numel = to.to.numel();
  if (numel == 0) return;
  const Launch grid = over_packs(numel, block_threads);
  launch(accumulate_kernel, grid.blocks, grid.threads, stream_of(stream), flat(value), flat(to.to),
         to.mode, to.round, numel);
  check_launch("accumulate (launch)");
}

void fill_normal(View x, std::uint64_t first, float mean, float stddev, Philox rng,
                 StreamRef stream) {
  const std::int64_t numel = x.numel();
  if (numel == 0) return;
  const auto skip = static_cast<std::int64_t>(first % 4);
  const Launch grid = one_thread_each(ceil_div(skip + numel, 4), block_threads);
  launch(fill_normal_kernel, grid.blocks, grid.threads, stream_of(stream), flat(x), first, numel,
         Normal{mean, stddev, rng});
  check_launch("fill_normal (launch)");
}

}  // namespace sherd::cuda
