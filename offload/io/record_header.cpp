#include "io/record_header.hpp"

#include <cstring>

#include "sherd/io/checksum.hpp"

namespace sherd::io {
namespace {

constexpr std::size_t covered = direct_block - sizeof(std::uint32_t);

}  // namespace

void put_header(const RecordHeader& header, HeaderBlock block) {
  std::memset(block.data(), 0, block.size());
  std::memcpy(block.data(), &header, sizeof header);
  const std::uint32_t sum = crc32c(block.first<covered>());
  std::memcpy(block.data() + covered, &sum, sizeof sum);
}

std::optional<RecordHeader> header_of(HeaderBlock block) {
  std::uint32_t sum = 0;
  std::memcpy(&sum, block.data() + covered, sizeof sum);
  RecordHeader header;
  std::memcpy(&header, block.data(), sizeof header);
  const bool ours =
      header.magic == RecordHeader::magic_word && header.version == RecordHeader::current;
  if (!ours || sum != crc32c(block.first<covered>())) return std::nullopt;
  return header;
}

}  // namespace sherd::io
