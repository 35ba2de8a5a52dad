#pragma once
// Memory for direct transfers, filled so that every place looks different.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>

#include "sherd/io/record_file.hpp"

namespace sherd::test {

class AlignedBytes {
 public:
  explicit AlignedBytes(std::size_t size)
      : data_(static_cast<std::byte*>(std::aligned_alloc(io::direct_block, size))), size_(size) {
    fill(0);
  }
  [[nodiscard]] std::span<std::byte> span() { return {data_.get(), size_}; }
  /// Bytes of a small generator begun with `seed`.
  void fill(std::uint64_t seed) {
    std::uint64_t state = seed * 2 + 1;
    for (std::byte& value : span()) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      value = static_cast<std::byte>(state >> 56);
    }
  }

 private:
  struct Free {
    void operator()(std::byte* data) const { std::free(data); }
  };
  std::unique_ptr<std::byte, Free> data_;
  std::size_t size_;
};

[[nodiscard]] inline bool equal(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace sherd::test
