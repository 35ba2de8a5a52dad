#include "data/merges.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>

namespace sherd::data {
namespace {

using Word = std::vector<std::uint32_t>;
using Ranks = std::map<std::pair<std::uint32_t, std::uint32_t>, Merges::Merge>;

/// The rule as the paper has it: look at all pairs, merge the best, start again.
Word merged_plainly(const Ranks& ranks, Word word) {
  for (;;) {
    std::size_t best = 0;
    std::uint32_t rank = Merges::never, id = 0;
    for (std::size_t i = 0; i + 1 < word.size(); ++i) {
      const auto found = ranks.find({word[i], word[i + 1]});
      if (found == ranks.end() || found->second.rank >= rank) continue;
      best = i;
      rank = found->second.rank;
      id = found->second.id;
    }
    if (rank == Merges::never) return word;
    word[best] = id;
    word.erase(word.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

TEST_CASE("Words of 1 to 400 tokens merge as the plain rule does") {
  std::mt19937 random(5);
  for (int round = 0; round < 40; ++round) {
    const auto letters = static_cast<std::uint32_t>(2 + random() % 4);
    Ranks ranks;
    Merges merges;
    merges.reserve(60);
    for (std::uint32_t rank = 0; rank < 60; ++rank) {
      const std::uint32_t made = letters + rank;
      const auto left = static_cast<std::uint32_t>(random() % made),
                 right = static_cast<std::uint32_t>(random() % made);
      ranks[{left, right}] = {rank, made};  // the later of two counts
      merges.add(left, right, {rank, made});
    }
    WordMerger merger(merges);
    for (const std::size_t size : {1u, 2u, 3u, 7u, 40u, 95u, 96u, 97u, 98u, 150u, 400u}) {
      Word word(size);
      std::ranges::generate(word, [&] { return static_cast<std::uint32_t>(random() % letters); });
      Word ours = word;
      ours.resize(merger.run(ours));
      CHECK(ours == merged_plainly(ranks, word));
    }
  }
}

TEST_CASE("Without merges, and without tokens, words stay as they are") {
  const Merges merges;
  WordMerger merger(merges);
  Word word{3, 1, 2};
  CHECK(merger.run(word) == 3);
  CHECK(word == Word{3, 1, 2});
  CHECK(merger.run({}) == 0);
  Word longer(200, 7);
  CHECK(merger.run(longer) == 200);
}

}  // namespace
}  // namespace sherd::data
