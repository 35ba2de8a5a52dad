#pragma once
// What the file tier asks of the system. Tests put their faults here, below both engines.
#include <cstddef>
#include <cstdint>

#include "sherd/base/units.hpp"

namespace sherd::io {

enum class Direction : std::uint8_t { read, write };

/// Answers are those of the system: a count or a descriptor, or an errno below zero.
///
/// **Order** `granted` and `answered` may be called from several threads at once.
class SystemCalls {
 public:
  virtual ~SystemCalls() = default;
  /// A descriptor of a file in `folder` that has no name.
  [[nodiscard]] virtual int open_unnamed(const char* folder);
  [[nodiscard]] virtual int bypass_cache(int file);
  [[nodiscard]] virtual int reserve(int file, Bytes size);
  /// Bytes that may be taken in the file system of `file`.
  [[nodiscard]] virtual Bytes room(int file);
  /// Its kind: a magic number of statfs(2).
  [[nodiscard]] virtual std::int64_t kind(const char* folder);
  /// 0, or why a queue of io_uring is not to be had.
  [[nodiscard]] virtual int allow_uring() { return 0; }
  /// What is asked for of `bytes` wanted: less makes a short count.
  [[nodiscard]] virtual std::size_t granted(Direction, Bytes /*offset*/, std::size_t bytes) {
    return bytes;
  }
  /// What an engine hears as the answer to a request.
  [[nodiscard]] virtual int answered(Direction, Bytes /*offset*/, int answer) { return answer; }
  /// What it hears of submitting to and waiting for a queue of io_uring.
  [[nodiscard]] virtual int entered(int answer) { return answer; }
};

/// The system itself.
[[nodiscard]] SystemCalls& system_calls();

}  // namespace sherd::io
