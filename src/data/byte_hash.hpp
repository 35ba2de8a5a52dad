#pragma once
// A fast hash of short texts, for tables in memory.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace sherd::data {

/// Source: the folded product of wyhash (Wang Yi).
[[nodiscard]] inline std::uint64_t folded_product(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

[[nodiscard]] inline std::uint64_t byte_hash(std::string_view text) {
  constexpr std::uint64_t odd = 0x9e3779b97f4a7c15u, other = 0xd6e8feb86659fd93u;
  std::uint64_t hash = folded_product(text.size() + 1, odd);
  std::size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + at, 8);
    hash = folded_product(hash ^ word, other);
  }
  std::uint64_t rest = 0;
  for (; at < text.size(); ++at) rest = rest << 8 | static_cast<unsigned char>(text[at]);
  return folded_product(hash ^ rest, odd);
}

}  // namespace sherd::data
