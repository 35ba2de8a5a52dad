#pragma once
// A file without a name that belongs to one rank.
#include <string>

#include "io/system_calls.hpp"
#include "sherd/io/config.hpp"

namespace sherd::io {

/// What names of files that could not be made without one begin with; nobody else may use them.
inline constexpr char passing_name[] = ".sherd-record-";

/// Owns a descriptor; the file goes with it.
class OpenFile {
 public:
  OpenFile(std::string folder, Rank rank, Bytes size, SystemCalls& system);
  OpenFile(OpenFile&& other) noexcept;
  OpenFile& operator=(OpenFile&&) = delete;
  ~OpenFile();

  [[nodiscard]] int descriptor() const { return descriptor_; }
  [[nodiscard]] bool direct() const { return direct_; }
  /// Words for messages: the folder and whose file it is.
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  void take_room(Bytes size, SystemCalls& system) const;

  std::string path_;
  int descriptor_ = -1;
  bool direct_ = false;
};

}  // namespace sherd::io
