#pragma once
// Files that are only read, by position.
#include <cstddef>
#include <span>
#include <string>

#include "sherd/base/units.hpp"

namespace sherd::io {

/// Owns a regular file open for reading; positions are arguments, so threads may share it.
///
/// **Errors** DataError naming the file, and the byte offset where there is one.
class File {
 public:
  explicit File(std::string path);
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();

  /// Fills `into` from `offset` on; refuses a range that is not wholly in the file.
  void pread_exact(Bytes offset, std::span<std::byte> into) const;

  [[nodiscard]] Bytes size() const { return size_; }
  [[nodiscard]] const std::string& path() const { return path_; }

  /// Throws DataError "<path>: <problem> at byte <offset>".
  [[noreturn]] void refuse(Bytes offset, const std::string& problem) const;

 private:
  std::string path_;
  int fd_ = -1;
  Bytes size_ = 0;
};

/// The whole file, which must not be larger than `limit`.
[[nodiscard]] std::string read_text(const File& file, Bytes limit);

/// Text from a file made fit for a message: control bytes become '?', long text is cut.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace sherd::io
