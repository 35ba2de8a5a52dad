#include "data/merges.hpp"

#include <algorithm>
#include <bit>
#include <functional>

namespace sherd::data {

void Merges::reserve(std::size_t count) {
  table_.assign(std::bit_ceil(count * 2 + 2), Place{});
  mask_ = table_.size() - 1;
  shift_ = 64 - std::countr_zero(table_.size());
}

void Merges::add(std::uint32_t left, std::uint32_t right, Merge merge) {
  const std::uint64_t key = key_of(left, right);
  std::size_t at = place_of(key);
  while (table_[at].key != unused && table_[at].key != key) at = (at + 1) & mask_;
  table_[at] = {key, merge};
}

std::size_t WordMerger::run(std::span<std::uint32_t> word) {
  if (word.size() < 2) return word.size();
  return word.size() <= longest_short ? run_short(word) : run_long(word);
}

std::size_t WordMerger::run_short(std::span<std::uint32_t> word) {
  std::size_t pairs = word.size() - 1;
  const auto look = [&](std::size_t i) {
    const Merges::Merge merge = merges_.of(word[i], word[i + 1]);
    ranks_[i] = merge.rank;
    made_[i] = merge.id;
  };
  for (std::size_t i = 0; i < pairs; ++i) look(i);
  while (pairs > 0) {
    std::uint32_t lowest = ranks_[0];
    for (std::size_t i = 1; i < pairs; ++i) lowest = std::min(lowest, ranks_[i]);
    if (lowest == Merges::never) break;
    std::size_t at = 0;
    while (ranks_[at] != lowest) ++at;
    word[at] = made_[at];
    std::copy(word.begin() + static_cast<std::ptrdiff_t>(at) + 2,
              word.begin() + static_cast<std::ptrdiff_t>(pairs) + 1,
              word.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    std::copy(ranks_.begin() + at + 1, ranks_.begin() + pairs, ranks_.begin() + at);
    std::copy(made_.begin() + at + 1, made_.begin() + pairs, made_.begin() + at);
    --pairs;
    if (at > 0) look(at - 1);
    if (at < pairs) look(at);
  }
  return pairs + 1;
}

std::size_t WordMerger::run_long(std::span<std::uint32_t> word) {
  const auto count = static_cast<std::uint32_t>(word.size());
  constexpr std::uint32_t none = Merges::never;
  links_.resize(count);
  next_.assign(count, {});
  queue_.clear();
  const auto look = [&](std::uint32_t at) {
    const std::uint32_t after = links_[at].after;
    next_[at] = after == none ? Merges::Merge{} : merges_.of(word[at], word[after]);
    if (next_[at].rank == none) return;
    queue_.push_back(std::uint64_t{next_[at].rank} << 32 | at);
    std::push_heap(queue_.begin(), queue_.end(), std::greater<>());
  };
  for (std::uint32_t i = 0; i < count; ++i)
    links_[i] = {i == 0 ? none : i - 1, i + 1 == count ? none : i + 1};
  for (std::uint32_t i = 0; i < count; ++i) look(i);
  while (!queue_.empty()) {
    std::pop_heap(queue_.begin(), queue_.end(), std::greater<>());
    const auto at = static_cast<std::uint32_t>(queue_.back());
    const auto rank = static_cast<std::uint32_t>(queue_.back() >> 32);
    queue_.pop_back();
    if (next_[at].rank != rank) continue;  // its pair is no longer what it was
    const std::uint32_t gone = links_[at].after;
    word[at] = next_[at].id;
    next_[gone].rank = none;
    links_[at].after = links_[gone].after;
    if (links_[at].after != none) links_[links_[at].after].before = at;
    if (links_[at].before != none) look(links_[at].before);
    look(at);
  }
  std::size_t left = 0;
  for (std::uint32_t at = 0; at != none; at = links_[at].after) word[left++] = word[at];
  return left;
}

}  // namespace sherd::data
