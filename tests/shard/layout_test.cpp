#include "sherd/shard/layout.hpp"

#include <doctest/doctest.h>

#include <random>

namespace sherd {
namespace {

using shard::Layout;
using shard::quantum;
using shard::Range;
using shard::Segment;
using shard::Unit;

// Sizes around quanta: one element, one short of a quantum, exact, one more, and large.
std::vector<Unit> units(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const std::uint64_t sizes[] = {1, 7, 255, 256, 257, 512, 3000, 65536, 100000};
  std::vector<Unit> all;
  for (int u = 0; u < 6; ++u) {
    Unit unit{"layer" + std::to_string(u), {}};
    for (std::uint64_t p = 0; p <= random() % 4; ++p) unit.numels.push_back(sizes[random() % 9]);
    all.push_back(std::move(unit));
  }
  return all;
}

std::uint64_t elements(const std::vector<Unit>& all) {
  std::uint64_t sum = 0;
  for (const Unit& unit : all) {
    for (const std::uint64_t numel : unit.numels) sum += numel;
  }
  return sum;
}

std::uint64_t sum_of(const std::vector<Segment>& segments) {
  std::uint64_t sum = 0;
  for (const Segment& s : segments) sum += s.count;
  return sum;
}

// Marks every element of every parameter that `rank`'s segments name.
void mark(const Layout& layout, Rank rank, std::vector<std::vector<int>>& seen) {
  for (std::size_t b = 0; b < layout.buckets().size(); ++b) {
    const Range own = layout.shard(b, rank);
    std::uint64_t at = 0;
    for (const Segment& s : layout.segments(b, own)) {
      const shard::Slot& slot = layout.slots()[s.param];
      REQUIRE(slot.bucket == b);
      REQUIRE(s.count > 0);
      REQUIRE(s.in_range >= at);
      REQUIRE(own.first + s.in_range == slot.offset + s.in_param);
      REQUIRE(s.in_param % quantum == 0);
      for (std::uint64_t i = 0; i < s.count; ++i) ++seen[s.param][s.in_param + i];
      at = s.in_range + s.count;
    }
    REQUIRE(at <= own.count);
  }
}

}  // namespace

TEST_CASE("slots start on quanta, do not overlap and cover their bucket") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    for (int world = 1; world <= 64; ++world) {
      const Layout layout(units(seed), 1 + 4000 * seed, world);
      std::size_t param = 0;
      for (const shard::Bucket& bucket : layout.buckets()) {
        REQUIRE(bucket.first == param);
        REQUIRE(bucket.count > 0);
        REQUIRE(bucket.numel % (quantum * static_cast<std::uint64_t>(world)) == 0);
        std::uint64_t at = 0;
        for (; param < bucket.first + bucket.count; ++param) {
          const shard::Slot& slot = layout.slots()[param];
          REQUIRE(slot.offset == at);
          REQUIRE(slot.offset % quantum == 0);
          REQUIRE(slot.padded >= slot.numel);
          at += slot.padded;
        }
        REQUIRE(at == bucket.numel);
      }
      REQUIRE(param == layout.slots().size());
    }
  }
}

TEST_CASE("shards are equal whole quanta that cover each bucket once") {
  for (int world = 1; world <= 64; ++world) {
    const Layout layout(units(3), 5000, world);
    std::uint64_t padded = 0;
    for (std::size_t b = 0; b < layout.buckets().size(); ++b) {
      std::uint64_t at = 0;
      for (Rank rank = 0; rank < world; ++rank) {
        const Range own = layout.shard(b, rank);
        REQUIRE(own.first == at);
        REQUIRE(own.count % quantum == 0);
        REQUIRE(own.count == layout.shard(b, 0).count);
        at = own.end();
      }
      REQUIRE(at == layout.buckets()[b].numel);
      padded += at;
    }
    REQUIRE(layout.padded() == padded);
  }
}

TEST_CASE("segments over all ranks name each real element once and no padding") {
  for (const int world : {1, 2, 3, 4, 5, 7, 8, 13, 64}) {
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      const std::vector<Unit> all = units(seed);
      const Layout layout(all, 5000, world);
      std::vector<std::vector<int>> seen;
      for (const shard::Slot& slot : layout.slots()) seen.emplace_back(slot.numel, 0);
      for (Rank rank = 0; rank < world; ++rank) mark(layout, rank, seen);
      for (const std::vector<int>& param : seen) {
        for (const int times : param) REQUIRE(times == 1);
      }
    }
  }
}

TEST_CASE("segments of cut ranges add up to those of the whole") {
  const Layout layout(units(5), 300000, 3);
  for (std::size_t b = 0; b < layout.buckets().size(); ++b) {
    const std::uint64_t numel = layout.buckets()[b].numel;
    const std::uint64_t whole = sum_of(layout.segments(b, {0, numel}));
    for (const std::uint64_t cut : {quantum, 3 * quantum, numel / 2, numel}) {
      const std::uint64_t at = std::min(cut, numel);
      CHECK(sum_of(layout.segments(b, {0, at})) + sum_of(layout.segments(b, {at, numel - at})) ==
            whole);
    }
    CHECK(layout.segments(b, {0, 0}).empty());
  }
}

TEST_CASE("a rank with nothing but padding has a shard and no segment") {
  const std::vector<Unit> tiny{{"bias", {10}}};
  const Layout layout(tiny, 1, 7);
  CHECK(layout.buckets()[0].numel == 7 * quantum);
  CHECK(layout.segments(0, layout.shard(0, 0)).size() == 1);
  for (Rank rank = 1; rank < 7; ++rank) {
    CHECK(layout.shard(0, rank).count == quantum);
    CHECK(layout.segments(0, layout.shard(0, rank)).empty());
  }
}

TEST_CASE("an element's number in the model depends on neither buckets nor world") {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const std::vector<Unit> all = units(seed);
    const Layout one(all, 1, 1);
    for (const std::uint64_t bucket : {1ull, 600ull, 70000ull, 1ull << 40}) {
      for (const int world : {1, 3, 5, 64}) {
        const Layout other(all, bucket, world);
        for (std::size_t p = 0; p < one.slots().size(); ++p) {
          const shard::Slot &a = one.slots()[p], &b = other.slots()[p];
          REQUIRE(one.global_index(a.bucket) + a.offset == other.global_index(b.bucket) + b.offset);
          REQUIRE(a.numel == b.numel);
        }
      }
    }
  }
}

TEST_CASE("units join the bucket before them until it is full, and a small last one joins too") {
  const std::vector<Unit> all{{"embed", {1024}}, {"a", {256}}, {"b", {256, 256}}, {"c", {100}}};
  const auto names = [&](std::uint64_t limit) {
    std::vector<std::string> found;
    const Layout layout(all, limit, 2);
    for (const shard::Bucket& bucket : layout.buckets()) found.push_back(bucket.name);
    return found;
  };
  using Names = std::vector<std::string>;
  CHECK(names(1) == Names{"embed", "a", "b", "c"});
  CHECK(names(512) == Names{"embed", "a+b+c"});
  CHECK(names(768) == Names{"embed", "a+b+c"});
  CHECK(names(1100) == Names{"embed+a+b+c"});
  CHECK(names(1ull << 40) == Names{"embed+a+b+c"});
}

TEST_CASE("trainable and frozen units never share a bucket") {
  const std::vector<Unit> all{{"embed", {1024}, false}, {"a", {256}, false}, {"b", {100}, true},
                              {"c", {256}, true},       {"d", {256}, true},  {"e", {1024}, false}};
  const auto found = [&](std::uint64_t limit) {
    std::vector<std::string> names;
    const Layout layout(all, limit, 3);
    for (const shard::Bucket& bucket : layout.buckets()) {
      names.push_back(bucket.name);
      for (std::size_t p = bucket.first; p < bucket.first + bucket.count; ++p)
        CHECK(bucket.trainable == (p >= 2 && p < 5));
    }
    return names;
  };
  using Names = std::vector<std::string>;
  CHECK(found(1) == Names{"embed", "a", "b", "c", "d", "e"});
  CHECK(found(512) == Names{"embed+a", "b+c+d", "e"});
  CHECK(found(1ull << 40) == Names{"embed+a", "b+c+d", "e"});
}

TEST_CASE("tiles are whole, in order, at most the limit and cover a range") {
  for (const std::uint64_t count : {std::uint64_t{0}, quantum, shard::tile_limit,
                                    shard::tile_limit + quantum, 3 * shard::tile_limit}) {
    const Range range{512, count};
    std::uint64_t at = range.first;
    for (const Range& tile : Layout::tiles(range)) {
      CHECK(tile.first == at);
      CHECK(tile.count > 0);
      CHECK(tile.count <= shard::tile_limit);
      CHECK(tile.count % quantum == 0);
      at = tile.end();
    }
    CHECK(at == range.end());
    CHECK(Layout::tiles(range).size() == ceil_div(count, shard::tile_limit));
  }
}

TEST_CASE("a layout holds every element and at most a quantum a parameter and world more") {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const std::vector<Unit> all = units(seed);
    for (int world = 1; world <= 64; ++world) {
      const Layout layout(all, 5000, world);
      const std::uint64_t spare =
          quantum *
          (layout.slots().size() + layout.buckets().size() * static_cast<std::uint64_t>(world));
      REQUIRE(layout.padded() >= elements(all));
      REQUIRE(layout.padded() <= elements(all) + spare);
    }
  }
}

}  // namespace sherd
