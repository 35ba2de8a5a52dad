#pragma once
// A row of a norm in the registers of the threads that share it.
#include "cuda/kernels/access.cuh"

namespace sherd::cuda {

/// One row as its threads see it: in registers, or read again each time where `packs` is 0.
template <unsigned warps, unsigned packs>
struct RowPacks {
  Operand from;
  std::int64_t cols;
  std::int64_t thread;
  Packed held[packs > 0 ? packs : 1];

  __device__ RowPacks(const Operand& row, std::int64_t columns)
      : from(row), cols(columns), thread(threadIdx.x % (warps * warp)) {
    if constexpr (packs > 0) {
#pragma unroll
      for (unsigned k = 0; k < packs; ++k) {
        const std::int64_t at = first_of(k);
        held[k] = at < cols ? fetch(from, at, elements_at(at / pack, cols)) : Packed{};
      }
    }
  }
  __device__ std::int64_t first_of(unsigned k) const {
    return (std::int64_t{k} * (warps * warp) + thread) * pack;
  }
  /// visit(first column, elements, their values); values behind the elements are zero.
  template <class Visit>
  __device__ void each(const Visit& visit) const {
    if constexpr (packs > 0) {
#pragma unroll
      for (unsigned k = 0; k < packs; ++k) one(first_of(k), held[k], visit);
    } else {
      for (unsigned k = 0; first_of(k) < cols; ++k) {
        const std::int64_t at = first_of(k);
        one(at, fetch(from, at, elements_at(at / pack, cols)), visit);
      }
    }
  }
  template <class Visit>
  __device__ void one(std::int64_t at, const Packed& packed, const Visit& visit) const {
    if (at >= cols) return;
    float x[pack];
    widen(packed, from.type, x);
    visit(at, elements_at(at / pack, cols), x);
  }
};

}  // namespace sherd::cuda
