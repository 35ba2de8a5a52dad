#pragma once
// A file moved by single calls of the system, past the page cache where it may be: a disk's own
// rate.
#include <cstddef>
#include <span>
#include <string>

#include "sherd/base/units.hpp"

namespace sherd::bench {

/// Owns a file of `size` bytes without a name; threads may share it.
///
/// **Errors** DeviceError for all that fails.
class PlainFile {
 public:
  PlainFile(const std::string& folder, Bytes size);
  PlainFile(const PlainFile&) = delete;
  PlainFile& operator=(const PlainFile&) = delete;
  ~PlainFile();

  void read(Bytes offset, std::span<std::byte> into) const;
  void write(Bytes offset, std::span<const std::byte> from) const;
  /// "direct" or "buffered".
  [[nodiscard]] const char* way() const { return direct_ ? "direct" : "buffered"; }

 private:
  int file_ = -1;
  bool direct_ = false;
};

}  // namespace sherd::bench
