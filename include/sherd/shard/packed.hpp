#pragma once
// How many bytes elements take where nothing is padded.
#include "sherd/base/dtype.hpp"
#include "sherd/base/units.hpp"

namespace sherd::shard {

/// Of elements that begin between quanta of a parameter. 8-bit ones are blocks of 256 codes and a
/// scale; the parameter's last block has as many codes as elements.
[[nodiscard]] constexpr Bytes packed_bytes(DType type, std::uint64_t count) {
  if (type != DType::q8) return bytes_of(type, count);
  return count + ceil_div(count, q8_elements) * sizeof(float);
}

}  // namespace sherd::shard
