#pragma once
// Byte-pair encoding: which neighbours become one token, and in which order.
// Source: Sennrich et al. 2016, "Neural machine translation of rare words with subword units".
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

namespace sherd::data {

/// Ranks of pairs of tokens; the lowest is merged first, of equal ones the leftmost.
class Merges {
 public:
  static constexpr std::uint32_t never = std::numeric_limits<std::uint32_t>::max();
  struct Merge {
    std::uint32_t rank = never, id = 0;
  };

  void reserve(std::size_t count);
  /// A pair that is there already gets the new rank.
  void add(std::uint32_t left, std::uint32_t right, Merge merge);

  [[nodiscard]] Merge of(std::uint32_t left, std::uint32_t right) const {
    const std::uint64_t key = key_of(left, right);
    for (std::size_t at = place_of(key);; at = (at + 1) & mask_) {
      if (table_[at].key == key) return table_[at].merge;
      if (table_[at].key == unused) return {};
    }
  }

 private:
  static constexpr std::uint64_t unused = std::numeric_limits<std::uint64_t>::max();
  struct Place {
    std::uint64_t key = unused;
    Merge merge{};
  };
  [[nodiscard]] static std::uint64_t key_of(std::uint32_t left, std::uint32_t right) {
    return std::uint64_t{left} << 32 | right;
  }
  [[nodiscard]] std::size_t place_of(std::uint64_t key) const {
    return (key * 0x9e3779b97f4a7c15u) >> shift_;
  }

  std::vector<Place> table_{Place{}, Place{}};
  std::size_t mask_ = 1;
  int shift_ = 63;
};

/// Merges one word at a time; keeps its scratch.
class WordMerger {
 public:
  explicit WordMerger(const Merges& merges) : merges_(merges) {}
  /// Merges the tokens of `word` in place; returns how many are left, the first ones.
  std::size_t run(std::span<std::uint32_t> word);

 private:
  std::size_t run_short(std::span<std::uint32_t> word);
  std::size_t run_long(std::span<std::uint32_t> word);

  static constexpr std::size_t longest_short = 96;
  const Merges& merges_;
  std::array<std::uint32_t, longest_short> ranks_{}, made_{};
  struct Link {
    std::uint32_t before, after;
  };
  std::vector<Link> links_;
  std::vector<Merges::Merge> next_;   // with the token after it
  std::vector<std::uint64_t> queue_;  // rank and place, a heap
};

}  // namespace sherd::data
