#pragma once
// CRC32C, of the Castagnoli polynomial.
#include <cstddef>
#include <cstdint>
#include <span>

namespace sherd::io {

[[nodiscard]] std::uint32_t crc32c(std::span<const std::byte> bytes);

}  // namespace sherd::io
