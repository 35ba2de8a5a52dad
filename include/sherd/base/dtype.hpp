#pragma once
// Element types, and the two 16-bit floats with their rounding.
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sherd {

enum class DType : std::uint8_t { f32, bf16, f16, f64, i64, i32, u32, u16, i8, u8 };

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
  }
  return 0;
}
[[nodiscard]] constexpr std::string_view name_of(DType type) {
  constexpr std::string_view names[] = {"fp32", "bf16", "fp16", "fp64", "i64",
                                        "i32",  "u32",  "u16",  "i8",   "u8"};
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
