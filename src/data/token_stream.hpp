#pragma once
// Token arrays read as one.
#include <cstdint>
#include <span>
#include <vector>

#include "data/fingerprint.hpp"
#include "data/token_file.hpp"

namespace sherd::data {

class TokenStream {
 public:
  void add(TokenArray array);

  void read(std::uint64_t first, std::span<std::int32_t> into,
            const TokenArray::Range& range) const;
  /// Reads everything once, but for arrays whose type cannot hold anything else.
  void check(const TokenArray::Range& range) const;
  void add_to(Fingerprint& fingerprint) const;

  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] const std::vector<TokenArray>& arrays() const { return arrays_; }

 private:
  std::vector<TokenArray> arrays_;
  std::vector<std::uint64_t> ends_;  // of each array, in the stream
  std::uint64_t size_ = 0;
};

}  // namespace sherd::data
