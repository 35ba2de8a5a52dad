#pragma once
// One file of tokens, whatever its format.
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/fingerprint.hpp"
#include "sherd/base/dtype.hpp"
#include "sherd/io/file.hpp"

namespace sherd::data {

enum class TokenFormat : std::uint8_t { text, llmc, npy, lines };

/// What the name says: .bin is llm.c, .npy is numpy, .jsonl is JSON lines, all else is text.
[[nodiscard]] TokenFormat format_of(const std::string& path);
[[nodiscard]] const char* name_of(TokenFormat format);

/// A run of whole numbers in a file or in memory, found and checked once; read by parts.
class TokenArray {
 public:
  /// Reads the header that `format` has. **Errors** DataError naming file and byte offset.
  static TokenArray open(const std::string& path, TokenFormat format);
  /// Numbers made of the file at `path`, in memory. `bytes` is a whole number of them.
  static TokenArray held(const std::string& path, DType type, std::vector<std::byte> bytes);

  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] DType type() const { return type_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] Bytes file_size() const { return file_size_; }
  /// Keeps the file open from now on; others are opened for each read, whatever the limit on
  /// open files.
  void keep_open();

  /// What an element may be: in [0, limit), or `exception`.
  struct Range {
    std::int64_t limit;
    std::optional<std::int32_t> exception;
  };
  /// Decodes elements [first, first + into.size()).
  /// **Errors** DataError naming file and byte offset of the first one outside `range`.
  void read(std::uint64_t first, std::span<std::int32_t> into, const Range& range) const;
  /// Type, count and content.
  void add_to(Fingerprint& fingerprint) const;

 private:
  /// The open file: the one kept, or a new one that lives as long as the result.
  [[nodiscard]] std::shared_ptr<const io::File> file() const;
  [[noreturn]] void refuse(std::uint64_t index, const std::byte* element, const Range& range) const;

  std::string path_;
  DType type_ = DType::u8;
  Bytes offset_ = 0, file_size_ = 0;
  std::uint64_t count_ = 0;
  std::shared_ptr<const io::File> kept_;
  std::shared_ptr<const std::vector<std::byte>> held_;
};

}  // namespace sherd::data
