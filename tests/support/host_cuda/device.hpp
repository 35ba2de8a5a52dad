#pragma once
// As much of CUDA as our kernels use, on the host: what a kernel computes can then be compared with
// the CPU's twin where there is no device. Says nothing about races, memory spaces or speed.
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
#define __grid_constant__
#define __shared__ static
#define __align__(n) __attribute__((aligned(n)))

using std::isfinite;
using std::isnan;
using cudaError_t = int;
using cudaStream_t = void*;
using cudaEvent_t = void*;
using cudaGraphExec_t = void*;
inline constexpr cudaError_t cudaSuccess = 0;
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t) { return ""; }
inline const char* cudaGetErrorName(cudaError_t) { return ""; }
inline cudaError_t cudaMemsetAsync(void* at, int value, std::size_t count, cudaStream_t) {
  std::memset(at, value, count);
  return cudaSuccess;
}

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned columns = 1, unsigned rows = 1, unsigned layers = 1)
      : x(columns), y(rows), z(layers) {}
};
struct alignas(16) uint4 {
  std::uint32_t x, y, z, w;
};
inline uint4 make_uint4(std::uint32_t x, std::uint32_t y, std::uint32_t z, std::uint32_t w) {
  return {x, y, z, w};
}
inline dim3 threadIdx, blockIdx, blockDim, gridDim;

template <class T>
T __ldcs(const T* from) {
  if (reinterpret_cast<std::uintptr_t>(from) % alignof(T) != 0) std::abort();
  return *from;
}
template <class T>
void __stcs(T* to, T value) {
  if (reinterpret_cast<std::uintptr_t>(to) % alignof(T) != 0) std::abort();
  *to = value;
}
inline float __uint_as_float(std::uint32_t bits) { return std::bit_cast<float>(bits); }
inline std::uint32_t __float_as_uint(float x) { return std::bit_cast<std::uint32_t>(x); }
inline unsigned long long atomicAdd(unsigned long long* to, unsigned long long value) {
  const unsigned long long before = *to;
  *to += value;
  return before;
}

namespace sherd::test {

/// `body` once for each thread of each block.
void run_blocks(dim3 blocks, dim3 threads, std::function<void()> body);
void meet_block();
/// Waits for the thread's warp, or for its group of eight lanes.
void meet_lanes(bool whole_warp);
[[nodiscard]] unsigned this_thread();
[[nodiscard]] std::byte* slot_of(unsigned thread);

}  // namespace sherd::test

inline void __syncthreads() { sherd::test::meet_block(); }
template <class T>
T __shfl_xor_sync(unsigned mask, T value, unsigned width, int = 32) {
  const unsigned thread = sherd::test::this_thread();
  const bool whole_warp = mask == 0xffffffffu;
  std::memcpy(sherd::test::slot_of(thread), &value, sizeof value);
  sherd::test::meet_lanes(whole_warp);
  T other;
  std::memcpy(&other, sherd::test::slot_of(thread ^ width), sizeof other);
  sherd::test::meet_lanes(whole_warp);
  return other;
}
