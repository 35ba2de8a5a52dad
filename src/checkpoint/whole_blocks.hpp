#pragma once
// 8-bit blocks between files, which keep no padding, and memory.
#include <cstring>
#include <span>

#include "sherd/base/dtype.hpp"

namespace sherd::checkpoint {

/// Blocks as stored, of a tensor's last one only as many codes as it has elements, become whole.
inline void put_whole_blocks(std::span<const std::byte> stored, std::uint64_t count,
                             std::byte* to) {
  const std::uint64_t rest = count % q8_elements, whole = (count - rest) / q8_elements * q8_bytes;
  std::memcpy(to, stored.data(), whole);
  if (rest == 0) return;
  std::memset(to + whole, 0, q8_elements);
  std::memcpy(to + whole, stored.data() + whole, rest);
  std::memcpy(to + whole + q8_elements, stored.data() + whole + rest, sizeof(float));
}

}  // namespace sherd::checkpoint
