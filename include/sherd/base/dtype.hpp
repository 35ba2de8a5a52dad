#pragma once
// Element types, and the two 16-bit floats with their rounding.
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sherd {

/// q8: blocks of 256 8-bit codes followed by their fp32 scale (kernels/block8_math.hpp).
enum class DType : std::uint8_t { f32, bf16, f16, f64, i64, i32, u32, u16, i8, u8, q8 };

inline constexpr std::size_t q8_elements = 256, q8_bytes = q8_elements + sizeof(float);

/// Of one element; q8 has no such size (0), ask bytes_of.
[[nodiscard]] constexpr std::size_t size_of(DType type) {
  switch (type) {
    case DType::f64:
    case DType::i64:
      return 8;
    case DType::f32:
    case DType::i32:
    case DType::u32:
      return 4;
    case DType::bf16:
    case DType::f16:
    case DType::u16:
      return 2;
    case DType::i8:
    case DType::u8:
      return 1;
    case DType::q8:
      return 0;
  }
  return 0;
}
/// Of `numel` elements; of q8 a whole number of blocks.
[[nodiscard]] constexpr std::uint64_t bytes_of(DType type, std::uint64_t numel) {
  return type == DType::q8 ? numel / q8_elements * q8_bytes : numel * size_of(type);
}
/// How many elements take `bytes`.
[[nodiscard]] constexpr std::uint64_t numel_of(DType type, std::uint64_t bytes) {
  return type == DType::q8 ? bytes / q8_bytes * q8_elements : bytes / size_of(type);
}
[[nodiscard]] constexpr std::string_view name_of(DType type) {
  constexpr std::string_view names[] = {"fp32", "bf16", "fp16", "fp64", "i64", "i32",
                                        "u32",  "u16",  "i8",   "u8",   "q8"};
  return names[static_cast<std::size_t>(type)];
}

struct bfloat16 {
  std::uint16_t bits;
};
struct float16 {
  std::uint16_t bits;
};

[[nodiscard]] constexpr float to_float(bfloat16 x) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16);
}
/// Round to nearest even; NaN stays a NaN (quiet).
[[nodiscard]] constexpr bfloat16 to_bfloat16(float x) {
  const auto u = std::bit_cast<std::uint32_t>(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) return {static_cast<std::uint16_t>((u >> 16) | 0x40u)};
  return {static_cast<std::uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16)};
}
/// How a master weight becomes a stored bf16 parameter: to nearest, ties away from zero, so that a
/// 16-bit remainder gives the master back; NaN stays a NaN (quiet).
[[nodiscard]] constexpr bfloat16 to_stored_bfloat16(float x) {
  const auto u = std::bit_cast<std::uint32_t>(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) return {static_cast<std::uint16_t>((u >> 16) | 0x40u)};
  return {static_cast<std::uint16_t>((u + 0x8000u) >> 16)};
}
/// What a stored bf16 parameter leaves of its master: the difference of their bit patterns.
[[nodiscard]] constexpr std::uint16_t remainder_of(float master) {
  return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(master));
}
/// The master weight of a split pair; exact but for NaN.
[[nodiscard]] constexpr float joined(bfloat16 stored, std::uint16_t remainder) {
  const std::uint32_t high = static_cast<std::uint32_t>(stored.bits) << 16;
  return std::bit_cast<float>(high + remainder - ((remainder & 0x8000u) << 1));
}
/// Stochastic rounding: `random16` uniform in [0, 65535] decides; infinities and NaN are kept.
[[nodiscard]] constexpr bfloat16 to_bfloat16_stochastic(float x, std::uint32_t random16) {
  const auto u = std::bit_cast<std::uint32_t>(x);
  if ((u & 0x7f800000u) == 0x7f800000u) return to_bfloat16(x);
  return {static_cast<std::uint16_t>((u + (random16 & 0xffffu)) >> 16)};
}

[[nodiscard]] constexpr float to_float(float16 x) {
  const std::uint32_t sign = static_cast<std::uint32_t>(x.bits & 0x8000u) << 16;
  std::uint32_t exponent = (x.bits >> 10) & 0x1fu, mantissa = x.bits & 0x3ffu;
  if (exponent == 0) {
    if (mantissa == 0) return std::bit_cast<float>(sign);
    const auto value = static_cast<float>(mantissa) * 0x1p-24f;
    return sign != 0 ? -value : value;
  }
  exponent = exponent == 31 ? 255 : exponent + 112;
  return std::bit_cast<float>(sign | (exponent << 23) | (mantissa << 13));
}
/// Round to nearest even; overflow gives infinity; subnormals are kept.
[[nodiscard]] constexpr float16 to_float16(float x) {
  const auto u = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = (u >> 16) & 0x8000u, magnitude = u & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {static_cast<std::uint16_t>(sign | 0x7e00u)};
  if (magnitude >= 0x477ff000u) return {static_cast<std::uint16_t>(sign | 0x7c00u)};
  if (magnitude < 0x38800000u) {  // subnormal: an addition lines the bits up and rounds them
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return {
        static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u))};
  }
  const std::uint32_t rebased = magnitude - 0x38000000u;
  return {static_cast<std::uint16_t>(sign | ((rebased + 0xfffu + ((rebased >> 13) & 1u)) >> 13))};
}
[[nodiscard]] constexpr float to_float(float x) { return x; }

}  // namespace sherd
