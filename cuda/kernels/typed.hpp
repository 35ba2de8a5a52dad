#pragma once
// Elements of the three float types as fp32 on a device, the type known only at the call: a branch
// that every thread of a launch takes alike.
#include "sherd/base/philox.hpp"
#include "sherd/kernels/grad.hpp"

namespace sherd::cuda {

/// A view as a kernel takes it.
struct Elements {
  std::byte* data = nullptr;
  DType type = DType::f32;
  std::int64_t pitch = 0;  // elements from row to row
};
[[nodiscard]] inline Elements elements(const View& view) {
  return {view.data, view.type, view.row_pitch()};
}

#if defined(__CUDACC__)

__device__ __forceinline__ float load(const Elements& from, std::int64_t i) {
  if (from.type == DType::f32) return reinterpret_cast<const float*>(from.data)[i];
  if (from.type == DType::bf16) return to_float(reinterpret_cast<const bfloat16*>(from.data)[i]);
  return to_float(reinterpret_cast<const float16*>(from.data)[i]);
}
/// To nearest even.
__device__ __forceinline__ void store(const Elements& to, std::int64_t i, float value) {
  if (to.type == DType::f32) {
    reinterpret_cast<float*>(to.data)[i] = value;
  } else if (to.type == DType::bf16) {
    reinterpret_cast<bfloat16*>(to.data)[i] = to_bfloat16(value);
  } else {
    reinterpret_cast<float16*>(to.data)[i] = to_float16(value);
  }
}
/// What `store` would leave behind.
__device__ __forceinline__ float rounded(float value, DType type) {
  if (type == DType::f32) return value;
  return type == DType::bf16 ? to_float(to_bfloat16(value)) : to_float(to_float16(value));
}

struct alignas(16) FourWords {
  float at[4];
};
struct alignas(8) FourHalves {
  std::uint16_t at[4];
};
/// Elements i … i + 3 in one access: element i lies on a multiple of its four-element size.
__device__ __forceinline__ FourWords load4(const Elements& from, std::int64_t i) {
  if (from.type == DType::f32) {
    return *reinterpret_cast<const FourWords*>(reinterpret_cast<const float*>(from.data) + i);
  }
  const auto four =
      *reinterpret_cast<const FourHalves*>(reinterpret_cast<const std::uint16_t*>(from.data) + i);
  FourWords wide;
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    wide.at[k] =
        from.type == DType::bf16 ? to_float(bfloat16{four.at[k]}) : to_float(float16{four.at[k]});
  }
  return wide;
}
__device__ __forceinline__ void store4(const Elements& to, std::int64_t i,
                                       const FourWords& values) {
  if (to.type == DType::f32) {
    *reinterpret_cast<FourWords*>(reinterpret_cast<float*>(to.data) + i) = values;
    return;
  }
  FourHalves four;
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    four.at[k] =
        to.type == DType::bf16 ? to_bfloat16(values.at[k]).bits : to_float16(values.at[k]).bits;
  }
  *reinterpret_cast<FourHalves*>(reinterpret_cast<std::uint16_t*>(to.data) + i) = four;
}

/// `columns` elements, 1 or 4, in one access; the rest of the four is 0, or is not stored.
template <int columns>
__device__ __forceinline__ FourWords read(const Elements& from, std::int64_t i) {
  if constexpr (columns == 4) return load4(from, i);
  return {{load(from, i), 0, 0, 0}};
}
template <int columns>
__device__ __forceinline__ void write(const Elements& to, std::int64_t i, const FourWords& values) {
  if constexpr (columns == 4) {
    store4(to, i, values);
  } else {
    store(to, i, values.at[0]);
  }
}

#endif

/// Is every row of four-element groups aligned? Then `load4` and `store4` serve it.
[[nodiscard]] inline bool in_fours(const View& view) {
  const auto address = reinterpret_cast<std::uintptr_t>(view.data);
  return !view || (view.shape.cols % 4 == 0 && view.row_pitch() % 4 == 0 &&
                   address % (4 * size_of(view.type)) == 0);
}

/// A gradient as a kernel takes it: fp32, or bf16 rounded stochastically.
struct GradTo {
  Elements to{};
  bool add = false;
  Philox round{};
};
[[nodiscard]] inline GradTo grad_to(const Grad& grad) {
  return {elements(grad.to), grad.mode == Write::add, grad.round};
}

#if defined(__CUDACC__)
/// Four bf16 elements from i, a multiple of 4, with the low halves of the words of its block.
__device__ __forceinline__ void store4(bfloat16* to, std::int64_t i, const FourWords& values,
                                       const PhiloxBlock& words) {
  FourHalves four;
#pragma unroll
  for (std::size_t k = 0; k < 4; ++k) {
    four.at[k] = to_bfloat16_stochastic(values.at[k], words[k]).bits;
  }
  *reinterpret_cast<FourHalves*>(to + i) = four;
}
/// Word i mod 4, without an address: the words stay in registers.
__device__ __forceinline__ std::uint32_t word_of(const PhiloxBlock& words, std::int64_t i) {
  const std::uint32_t low = i % 2 == 0 ? words[0] : words[1];
  return i % 4 < 2 ? low : (i % 2 == 0 ? words[2] : words[3]);
}
/// Finished values of `columns` elements from i.
template <int columns>
__device__ __forceinline__ void write(const GradTo& grad, std::int64_t i, const FourWords& values) {
  if (grad.to.type == DType::f32) return write<columns>(grad.to, i, values);
  auto* to = reinterpret_cast<bfloat16*>(grad.to.data);
  const PhiloxBlock words = philox_block(grad.round, static_cast<std::uint64_t>(i) / 4);
  if constexpr (columns == 4) {
    store4(to, i, values, words);
  } else {
    to[i] = to_bfloat16_stochastic(values.at[0], word_of(words, i));
  }
}
#endif

}  // namespace sherd::cuda
