#pragma once
// What shows that bytes are those that were written: XXH3 with 128 bits, as `xxhsum -H2` prints it.
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "sherd/io/file.hpp"

namespace sherd::data {

class Digest {
 public:
  Digest();
  Digest(const Digest&) = delete;
  Digest& operator=(const Digest&) = delete;
  ~Digest();

  void add(std::span<const std::byte> bytes);
  void add(std::string_view text);
  /// Bytes [first, first + size) of a file.
  void add(const io::File& file, Bytes first, Bytes size);
  /// 32 hexadecimal digits of all so far.
  [[nodiscard]] std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

[[nodiscard]] std::string digest_of(std::string_view text);
[[nodiscard]] std::string digest_of(const io::File& file);

}  // namespace sherd::data
