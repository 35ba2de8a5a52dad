#pragma once
// The header of numpy's array files.
// Source: numpy.lib.format, versions 1.0 to 3.0.
#include <cstdint>

#include "sherd/base/dtype.hpp"
#include "sherd/io/file.hpp"

namespace sherd::io {

/// Where an array's elements lie: row-major, little-endian, `rows` × `cols` (1-D: `cols` is 1).
struct NpyHeader {
  DType type = DType::u16;
  int dimensions = 1;
  std::uint64_t rows = 0, cols = 1;
  Bytes data_offset = 0;
};

/// Reads and checks the header: the elements it promises are exactly the rest of the file.
///
/// Element types <u2 <u4 <i4 <i8 <f4 <f8 |u1, one or two dimensions, C order.
/// **Errors** DataError naming file, byte offset and what was found.
[[nodiscard]] NpyHeader read_npy_header(const File& file);

}  // namespace sherd::io
