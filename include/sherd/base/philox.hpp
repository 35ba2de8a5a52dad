#pragma once
// Counter-based random numbers: the same bits on every rank, device and recompute.
// Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", Philox4x32-10.
#include <array>
#include <cstdint>
#include <initializer_list>
#include <string_view>

namespace sherd {

/// A stream of random bits; element i takes word i % 4 of block i / 4.
struct Philox {
  std::uint64_t key = 0;
  std::uint64_t stream = 0;  // upper half of the 128-bit counter
};

/// What the bits are for; part of the key, so uses never share bits.
enum class Purpose : std::uint64_t {
  init = 1,
  shuffle,
  dropout,
  gradient_rounding,
  state_rounding,
  sample
};

[[nodiscard]] constexpr std::uint64_t mix(
    std::uint64_t x) {  // splitmix64 finaliser (Steele et al. 2014)
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}
[[nodiscard]] constexpr std::uint64_t hash_name(std::string_view name) {  // FNV-1a
  std::uint64_t h = 0xcbf29ce484222325u;
  for (const char c : name) h = (h ^ static_cast<std::uint8_t>(c)) * 0x100000001b3u;
  return h;
}
/// The stream for (seed, purpose) and a path of indices such as {tensor, step, leaf}.
[[nodiscard]] constexpr Philox philox(std::uint64_t seed, Purpose purpose,
                                      std::initializer_list<std::uint64_t> path) {
  std::uint64_t h = mix(static_cast<std::uint64_t>(purpose));
  for (const std::uint64_t part : path) h = mix(h ^ part);
  return {mix(seed), h};
}

using PhiloxBlock = std::array<std::uint32_t, 4>;

[[nodiscard]] constexpr PhiloxBlock philox_block(Philox p, std::uint64_t block) {
  std::uint32_t c0 = static_cast<std::uint32_t>(block),
                c1 = static_cast<std::uint32_t>(block >> 32);
  std::uint32_t c2 = static_cast<std::uint32_t>(p.stream),
                c3 = static_cast<std::uint32_t>(p.stream >> 32);
  std::uint32_t k0 = static_cast<std::uint32_t>(p.key),
                k1 = static_cast<std::uint32_t>(p.key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53u} * c0, b = std::uint64_t{0xCD9E8D57u} * c2;
    const auto n0 = static_cast<std::uint32_t>(b >> 32) ^ c1 ^ k0;
    const auto n2 = static_cast<std::uint32_t>(a >> 32) ^ c3 ^ k1;
    c1 = static_cast<std::uint32_t>(b);
    c3 = static_cast<std::uint32_t>(a);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {c0, c1, c2, c3};
}
/// 32 uniform bits for `element`.
[[nodiscard]] constexpr std::uint32_t philox_u32(Philox p, std::uint64_t element) {
  return philox_block(p, element / 4)[element % 4];
}
/// Uniform in [0, 1), 24 bits.
[[nodiscard]] constexpr float philox_uniform(Philox p, std::uint64_t element) {
  return static_cast<float>(philox_u32(p, element) >> 8) * 0x1p-24f;
}

}  // namespace sherd
