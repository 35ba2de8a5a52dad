#include "data/token_file.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include "sherd/base/errors.hpp"
#include "sherd/io/npy.hpp"

namespace sherd::data {
namespace {

static_assert(std::endian::native == std::endian::little, "token files are little-endian");

struct Layout {
  DType type;
  Bytes offset;
  std::uint64_t count;
};

/// 256 int32: magic, version, token count; then the tokens (llm.c, dev/data/data_common.py).
Layout read_llmc_header(const io::File& file) {
  constexpr Bytes header_bytes = 1024;
  std::array<std::int32_t, 3> header{};
  if (file.size() < header_bytes) file.refuse(0, "is too short for an llm.c header");
  file.pread_exact(0, std::as_writable_bytes(std::span(header)));
  const auto [magic, version, count] = header;
  const bool narrow = magic == 20240520, wide = magic == 20240801;
  if (!narrow && !wide) {
    file.refuse(0, "has magic " + std::to_string(magic) +
                       ", need 20240520 (u16) or 20240801 (u32) of llm.c");
  }
  // llm.c writes version 7 for u32; writers that count from 1 exist too.
  if (version != 1 && !(wide && version == 7)) {
    file.refuse(4, "has version " + std::to_string(version) + (wide ? ", need 7" : ", need 1"));
  }
  const DType type = narrow ? DType::u16 : DType::u32;
  const Bytes have = file.size() - header_bytes;
  if (count < 0 || static_cast<Bytes>(count) * size_of(type) != have) {
    file.refuse(8, "promises " + std::to_string(count) + " tokens of " +
                       std::to_string(size_of(type)) + " bytes and holds " + std::to_string(have) +
                       " bytes of them; the count");
  }
  return {type, header_bytes, static_cast<std::uint64_t>(count)};
}

Layout read_npy_layout(const io::File& file) {
  const io::NpyHeader header = io::read_npy_header(file);
  if (header.type == DType::f32 || header.type == DType::f64) {
    file.refuse(0, "holds fractions, need whole numbers; the array");
  }
  if (header.dimensions != 1) file.refuse(0, "has two dimensions, need one; the array");
  return {header.type, header.data_offset, header.rows};
}

template <class T>
std::size_t decode(const std::byte* raw, std::span<std::int32_t> into,
                   const TokenArray::Range& range) {
  for (std::size_t i = 0; i < into.size(); ++i) {
    T value;
    std::memcpy(&value, raw + i * sizeof(T), sizeof(T));
    const auto wide = static_cast<std::int64_t>(value);
    const bool allowed =
        (wide >= 0 && wide < range.limit) || (range.exception && wide == *range.exception);
    if (!allowed) return i;
    into[i] = static_cast<std::int32_t>(wide);
  }
  return into.size();
}

/// Elements decoded before the first bad one.
std::size_t decode(DType type, const std::byte* raw, std::span<std::int32_t> into,
                   const TokenArray::Range& range) {
  switch (type) {
    case DType::u8:
      return decode<std::uint8_t>(raw, into, range);
    case DType::u16:
      return decode<std::uint16_t>(raw, into, range);
    case DType::u32:
      return decode<std::uint32_t>(raw, into, range);
    case DType::i32:
      return decode<std::int32_t>(raw, into, range);
    default:
      return decode<std::int64_t>(raw, into, range);
  }
}

std::string shown(DType type, const std::byte* raw) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, raw, size_of(type));
  if (type == DType::i32) return std::to_string(static_cast<std::int32_t>(bits));
  if (type == DType::i64) return std::to_string(static_cast<std::int64_t>(bits));
  return std::to_string(bits);
}

}  // namespace

TokenFormat format_of(const std::string& path) {
  if (path.ends_with(".bin")) return TokenFormat::llmc;
  if (path.ends_with(".npy")) return TokenFormat::npy;
  if (path.ends_with(".jsonl")) return TokenFormat::lines;
  return TokenFormat::text;
}

const char* name_of(TokenFormat format) {
  constexpr std::array names = {"text", "llm.c tokens (.bin)", "numpy tokens (.npy)",
                                "JSON lines (.jsonl)"};
  return names[static_cast<std::size_t>(format)];
}

TokenArray TokenArray::open(const std::string& path, TokenFormat format) {
  const io::File file(path);
  Layout layout{DType::u8, 0, file.size()};
  if (format == TokenFormat::llmc) layout = read_llmc_header(file);
  if (format == TokenFormat::npy) layout = read_npy_layout(file);
  TokenArray result;
  result.path_ = path;
  result.type_ = layout.type;
  result.offset_ = layout.offset;
  result.file_size_ = file.size();
  result.count_ = layout.count;
  return result;
}

TokenArray TokenArray::held(const std::string& path, DType type, std::vector<std::byte> bytes) {
  expects(size_of(type) > 0, "token_array: got a type whose elements have no size of their own");
  TokenArray result;
  result.path_ = path;
  result.type_ = type;
  result.count_ = bytes.size() / size_of(type);
  result.held_ = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
  return result;
}

std::shared_ptr<const io::File> TokenArray::file() const {
  if (kept_) return kept_;
  auto file = std::make_shared<const io::File>(path_);
  if (file->size() != file_size_) {
    throw DataError(path_ + ": changed since the run started (from " + std::to_string(file_size_) +
                    " to " + std::to_string(file->size()) + " bytes)");
  }
  return file;
}

void TokenArray::keep_open() {
  if (!held_) kept_ = file();
}

void TokenArray::read(std::uint64_t first, std::span<std::int32_t> into, const Range& range) const {
  expects(first <= count_ && into.size() <= count_ - first,
          "token_array: got elements past the end");
  const std::shared_ptr<const io::File> file = held_ ? nullptr : this->file();
  std::array<std::byte, 16 * kib> block;
  const std::size_t width = std::max<std::size_t>(size_of(type_), 1);  // no array is of q8
  while (!into.empty()) {
    const std::size_t now = std::min(into.size(), block.size() / width);
    const std::byte* raw = held_ ? held_->data() + first * width : block.data();
    if (file) file->pread_exact(offset_ + first * width, std::span(block).first(now * width));
    const std::size_t good = decode(type_, raw, into.first(now), range);
    if (good < now) refuse(first + good, raw + good * width, range);
    first += now;
    into = into.subspan(now);
  }
}

void TokenArray::refuse(std::uint64_t index, const std::byte* element, const Range& range) const {
  throw DataError(path_ + ": has " + shown(type_, element) +
                  ", need less than the vocabulary size " + std::to_string(range.limit) +
                  (range.exception ? " or -100," : ",") +
                  (held_ ? " as token " + std::to_string(index)
                         : " at byte " + std::to_string(offset_ + index * size_of(type_))));
}

void TokenArray::add_to(Fingerprint& fingerprint) const {
  fingerprint.add(static_cast<std::uint64_t>(type_));
  fingerprint.add(count_);
  if (held_)
    fingerprint.add(std::span<const std::byte>(*held_));
  else
    fingerprint.add(*file());
}

}  // namespace sherd::data
