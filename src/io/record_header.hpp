#pragma once
// The first block of a record.
#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "sherd/io/record_file.hpp"

namespace sherd::io {

struct RecordHeader {
  static constexpr std::uint64_t magic_word = 0x4452434552444853;  // "SHDRECRD"
  static constexpr std::uint32_t current = 1;

  std::uint64_t magic = magic_word;
  std::uint32_t version = current;
  std::uint32_t checksum = 0;  // of the payload and its padding
  Bytes offset = 0;            // where the record belongs
  Bytes payload = 0;
  std::uint64_t generation = 0;  // writes of this record so far
};

using HeaderBlock = std::span<std::byte, direct_block>;

/// Fills the whole block; its last four bytes are the CRC32C of the others.
void put_header(const RecordHeader& header, HeaderBlock block);

/// Nothing when the block is none of ours or was altered.
[[nodiscard]] std::optional<RecordHeader> header_of(HeaderBlock block);

}  // namespace sherd::io
