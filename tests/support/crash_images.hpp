#pragma once
// What a disk may hold after a crash: of changes that nothing has synced, any part.
#include <algorithm>
#include <cstdint>
#include <functional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "sherd/io/checksum.hpp"
#include "support/memory_storage.hpp"

namespace sherd::test {

/// A small generator; the same numbers everywhere.
class Draw {
 public:
  explicit Draw(std::uint64_t seed) : state_(seed * 2 + 1) {}
  std::uint64_t operator()() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return state_ ^ (state_ >> 29);
  }
  std::uint64_t below(std::uint64_t end) { return (operator()() >> 16) % end; }

 private:
  std::uint64_t state_;
};

/// Of everything that can be reached by a path.
inline std::uint64_t hash_of(const Tree& tree, int node = 1) {
  const Tree::Node& at = tree.nodes.at(node);
  std::uint64_t sum = (at.bytes->size() << 33) + io::crc32c(*at.bytes) * 2 + at.folder;
  for (const auto& [name, inside] : at.names)
    sum = sum * 0x9e3779b97f4a7c15u + std::hash<std::string>()(name) * 31 + hash_of(tree, inside);
  return sum ^ (sum >> 31);
}

/// A recorded history of changes, cut off anywhere.
///
/// Of what was changed and not synced before the cut: names in a folder change or do not, each by
/// itself; sizes too; a write is lost, there, there as zeros or as what was on the disk before, or
/// torn between sectors.
class History {
 public:
  History(Tree before, const Tree& after, std::vector<Change> changes)
      : before_(std::move(before)), changes_(std::move(changes)) {
    for (const auto& [number, node] : after.nodes)
      before_.nodes.try_emplace(number, Tree::Node{.folder = node.folder});
    before_.next = after.next;
  }

  [[nodiscard]] std::size_t size() const { return changes_.size(); }

  /// Images of a crash after `made` changes: in round 0 all there are if `most` suffice, but for
  /// where a write tears; else as many as that, drawn.
  template <class See>
  void crash(std::size_t made, std::uint64_t round, std::uint64_t most, See&& see) const {
    const auto [base, pending] = split(made);
    std::uint64_t all = 1;
    bool tears = false;
    for (const Change* change : pending) {
      all = std::min<std::uint64_t>(most + 1, all * ways(*change));
      tears = tears || change->kind == Change::Kind::write;
    }
    if (round > 0 && all <= most && !tears) return;
    Draw draw(round * 1000003 + made);
    for (std::uint64_t n = 0; n < (round == 0 ? std::min(all, most) : most); ++n) {
      Tree image = base;
      std::uint64_t rest = n;
      for (const Change* change : pending) {
        const bool each = round == 0 && all <= most;
        const std::uint64_t way = each ? rest % ways(*change) : drawn(*change, draw);
        rest /= ways(*change);
        apply(image, *change, way, draw);
      }
      see(std::move(image));
    }
  }

 private:
  static constexpr std::uint64_t lost = 0, there = 1, zeros = 2, stale = 3, torn = 4;

  static std::uint64_t ways(const Change& change) {
    return change.kind == Change::Kind::write ? torn + 5 : 2;
  }

  // A name that is lost hides all that is in it: most are there.
  static std::uint64_t drawn(const Change& change, Draw& draw) {
    if (change.kind == Change::Kind::write) return draw.below(ways(change));
    return draw.below(8) == 0 ? lost : there;
  }

  // What is durable after `made` changes, and what of them may be.
  [[nodiscard]] std::pair<Tree, std::vector<const Change*>> split(std::size_t made) const {
    std::map<int, std::size_t> synced;
    for (std::size_t i = 0; i < made; ++i) {
      if (changes_[i].kind == Change::Kind::sync) synced[changes_[i].node] = i;
    }
    Tree base = before_;
    std::vector<const Change*> pending;
    Draw none(0);
    for (std::size_t i = 0; i < made; ++i) {
      const Change& change = changes_[i];
      if (change.kind == Change::Kind::sync) continue;
      const auto sync = synced.find(change.node);
      if (sync != synced.end() && i < sync->second)
        apply(base, change, there, none);
      else
        pending.push_back(&change);
    }
    std::set<int> named;  // bytes that no name leads to make no difference
    for (const auto& [number, node] : base.nodes) {
      for (const auto& [name, inside] : node.names) named.insert(inside);
    }
    for (const Change* change : pending) {
      for (const auto& [name, inside] : change->names) named.insert(inside);
    }
    named.insert(1);
    std::erase_if(pending, [&](const Change* c) { return !named.contains(c->node); });
    return {std::move(base), std::move(pending)};
  }

  static void apply(Tree& tree, const Change& change, std::uint64_t way, Draw& draw) {
    if (way == lost) return;
    Tree::Node& node = tree.nodes.at(change.node);
    for (const auto& [name, inside] : change.names) {
      if (inside == 0)
        node.names.erase(name);
      else
        node.names[name] = inside;
    }
    if (change.kind == Change::Kind::names) return;
    FileBytes bytes = *node.bytes;
    if (change.kind == Change::Kind::size) {
      bytes.resize(std::max<std::size_t>(bytes.size(), change.size));
    } else {
      write(bytes, change, way, draw);
    }
    node.bytes = std::make_shared<FileBytes>(std::move(bytes));
  }

  static void write(FileBytes& bytes, const Change& change, std::uint64_t way, Draw& draw) {
    const FileBytes& from = *change.bytes;
    const std::size_t sector = draw.below(4) == 0 ? 4096 : 512;
    for (std::size_t at = 0; at < from.size(); at += sector) {
      const std::size_t end = std::min(at + sector, from.size());
      std::uint64_t here = way;
      if (way == torn) here = at < from.size() / 2 ? there : lost;
      if (way == torn + 1) here = end > from.size() / 2 ? there : lost;
      if (way > torn + 1) here = draw.below(torn);
      if (here == lost) continue;
      bytes.resize(std::max<std::size_t>(bytes.size(), change.offset + end));
      const auto to = bytes.begin() + static_cast<std::ptrdiff_t>(change.offset + at);
      if (here == there)
        std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(at), end - at, to);
      else
        std::fill_n(to, end - at, here == zeros ? std::byte{0} : std::byte{0x5a});
    }
  }

  Tree before_;
  std::vector<Change> changes_;
};

}  // namespace sherd::test
