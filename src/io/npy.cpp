#include "sherd/io/npy.hpp"

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "sherd/base/errors.hpp"

namespace sherd::io {
namespace {

constexpr Bytes longest_npy_header = 64 * kib;

std::optional<DType> type_of(std::string_view descr) {
  if (descr == "|u1" || descr == "<u1") return DType::u8;
  if (descr == "<u2") return DType::u16;
  if (descr == "<u4") return DType::u32;
  if (descr == "<i4") return DType::i32;
  if (descr == "<i8") return DType::i64;
  if (descr == "<f4") return DType::f32;
  if (descr == "<f8") return DType::f64;
  return std::nullopt;
}

/// Walks the header's Python dictionary, which is a literal of a known form.
class DictReader {
 public:
  DictReader(const File& file, Bytes offset, std::string text)
      : file_(file), offset_(offset), text_(std::move(text)) {}

  NpyHeader read() {
    NpyHeader header;
    unsigned seen = 0;
    take('{');
    while (!peek('}')) {
      const std::string key = quoted();
      take(':');
      const unsigned bit = key == "descr" ? 1 : key == "fortran_order" ? 2 : key == "shape" ? 4 : 0;
      if (bit == 0) refuse("has an unknown header key '" + printable(key) + "'");
      if ((seen & bit) != 0) refuse("has the header key '" + key + "' twice");
      seen |= bit;
      if (bit == 1) read_type(header);
      if (bit == 2) read_order();
      if (bit == 4) read_shape(header);
      if (!peek('}')) take(',');
    }
    take('}');
    skip_blanks();
    if (at_ != text_.size()) refuse("has more than one dictionary as header");
    if (seen != 7) refuse("lacks one of the header keys descr, fortran_order, shape");
    return header;
  }

 private:
  void read_type(NpyHeader& header) {
    if (!peek('\'') && !peek('"')) refuse("has structured elements, need plain numbers");
    const std::string descr = quoted();
    const std::optional<DType> type = type_of(descr);
    if (!type) {
      refuse("has elements of type '" + printable(descr) +
             "', need one of <u2 <u4 <i4 <i8 <f4 <f8 |u1");
    }
    header.type = *type;
  }
  void read_order() {
    skip_blanks();
    if (text_.compare(at_, 5, "False") == 0) {
      at_ += 5;
    } else if (text_.compare(at_, 4, "True") == 0) {
      refuse("is in Fortran order, need C order (numpy.ascontiguousarray)");
    } else {
      refuse("has no True or False as fortran_order");
    }
  }
  void read_shape(NpyHeader& header) {
    take('(');
    header.dimensions = 0;
    while (!peek(')')) {
      const std::uint64_t size = number();
      if (header.dimensions == 2) refuse("has more than two dimensions");
      (header.dimensions == 0 ? header.rows : header.cols) = size;
      ++header.dimensions;
      if (!peek(')')) take(',');
    }
    take(')');
    if (header.dimensions == 0) refuse("is a single number, need an array");
  }

  std::uint64_t number() {
    skip_blanks();
    std::uint64_t value = 0;
    const std::size_t start = at_;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      if (__builtin_mul_overflow(value, std::uint64_t{10}, &value) ||
          __builtin_add_overflow(value, static_cast<std::uint64_t>(text_[at_] - '0'), &value)) {
        refuse("has a size above 64 bits");
      }
    }
    if (at_ == start) refuse("has no number where a size should be");
    return value;
  }
  std::string quoted() {
    skip_blanks();
    const char mark = at_ < text_.size() ? text_[at_] : '\0';
    if (mark != '\'' && mark != '"') refuse("has no quoted name where one should be");
    const std::size_t end = text_.find(mark, at_ + 1);
    if (end == std::string::npos) refuse("has an unclosed quote");
    std::string inner = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return inner;
  }
  bool peek(char c) {
    skip_blanks();
    return at_ < text_.size() && text_[at_] == c;
  }
  void take(char c) {
    if (!peek(c)) refuse(std::string("lacks '") + c + "' in its header");
    ++at_;
  }
  void skip_blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  [[noreturn]] void refuse(const std::string& problem) const {
    file_.refuse(offset_ + at_, problem);
  }

  const File& file_;
  Bytes offset_;
  std::string text_;
  std::size_t at_ = 0;
};

Bytes elements_bytes(const File& file, const NpyHeader& header) {
  std::uint64_t count = 0, bytes = 0;
  if (__builtin_mul_overflow(header.rows, header.cols, &count) ||
      __builtin_mul_overflow(count, size_of(header.type), &bytes)) {
    file.refuse(0, "has a shape whose size is above 64 bits");
  }
  return bytes;
}

}  // namespace

NpyHeader read_npy_header(const File& file) {
  std::array<unsigned char, 12> start{};
  const std::span<std::byte> raw = std::as_writable_bytes(std::span(start));
  if (file.size() < 10) file.refuse(0, "is too short for a .npy file");
  file.pread_exact(0, raw.first(10));
  if (std::string_view(reinterpret_cast<const char*>(start.data()), 6) != "\x93NUMPY") {
    file.refuse(0, "is no .npy file (wrong magic bytes)");
  }
  if (start[6] < 1 || start[6] > 3 || start[7] != 0) {
    file.refuse(6, "has .npy version " + std::to_string(start[6]) + "." + std::to_string(start[7]) +
                       ", need 1.0 to 3.0");
  }
  const Bytes prefix = start[6] == 1 ? 10 : 12;
  if (prefix == 12) file.pread_exact(10, raw.subspan(10));
  Bytes length = start[8] + (Bytes{start[9]} << 8);
  if (prefix == 12) length += (Bytes{start[10]} << 16) + (Bytes{start[11]} << 24);
  if (length > longest_npy_header || length > file.size() - prefix) {
    file.refuse(8, "has a header of " + std::to_string(length) + " bytes, need at most " +
                       std::to_string(std::min(longest_npy_header, file.size() - prefix)));
  }
  std::string text(length, '\0');
  file.pread_exact(prefix, std::as_writable_bytes(std::span(text)));
  NpyHeader header = DictReader(file, prefix, std::move(text)).read();
  header.data_offset = prefix + length;
  const Bytes need = elements_bytes(file, header), have = file.size() - header.data_offset;
  if (need != have) {
    file.refuse(header.data_offset, "has " + std::to_string(have) +
                                        " bytes of elements, need (by its shape) " +
                                        std::to_string(need));
  }
  return header;
}

}  // namespace sherd::io
