#include "sherd/io/checksum.hpp"

#include <isa-l/crc.h>

#include <algorithm>

namespace sherd::io {

std::uint32_t crc32c(std::span<const std::byte> bytes) {
  constexpr std::size_t longest = std::size_t{1} << 30;  // the library counts in int
  std::uint32_t sum = ~std::uint32_t{0};
  while (!bytes.empty()) {
    const std::span<const std::byte> now = bytes.first(std::min(longest, bytes.size()));
    // It only reads, whatever its signature says.
    auto* data = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(now.data()));
    sum = ::crc32_iscsi(data, static_cast<int>(now.size()), sum);
    bytes = bytes.subspan(now.size());
  }
  return ~sum;
}

}  // namespace sherd::io
