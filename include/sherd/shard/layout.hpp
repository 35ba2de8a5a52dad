#pragma once
// Partition maths: parameters to buckets to shards. Offsets are in elements and equal in every kind
// of state.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sherd/base/units.hpp"

namespace sherd::shard {

/// Elements; every parameter starts on one, so shards, tiles and decay flags never split one.
inline constexpr std::uint64_t quantum = 256;
/// Elements; the unit of update, fetch and evict.
inline constexpr std::uint64_t tile_limit = 4 * 1024 * 1024;

/// Half-open range of elements.
struct Range {
  std::uint64_t first = 0, count = 0;
  [[nodiscard]] std::uint64_t end() const { return first + count; }
  bool operator==(const Range&) const = default;
};

/// Parameters that stay in one bucket, at least one: those of a layer.
struct Unit {
  std::string name;
  std::vector<std::uint64_t> numels;
  bool trainable = true;
};

/// A parameter's place: `padded` reaches to the next parameter, or to the bucket's end.
struct Slot {
  std::size_t bucket = 0;
  std::uint64_t offset = 0, numel = 0, padded = 0;
};

struct Bucket {
  std::string name;                  // of its units, "layer0" or "embed+layer0"
  std::size_t first = 0, count = 0;  // parameters [first, first + count)
  std::uint64_t numel = 0;           // padded to world quanta
  bool trainable = true;             // false: it has no gradients and no optimizer state
};

/// A parameter's part inside a range of its bucket.
struct Segment {
  std::size_t param = 0;
  std::uint64_t in_param = 0;  // first element, in the parameter
  std::uint64_t in_range = 0;  // the same one, counted from the range's start
  std::uint64_t count = 0;     // without padding
};

class Layout {
 public:
  /// Units in order; one joins the bucket before it while that holds fewer than `bucket_elements`,
  /// and so does a last one that is smaller than that itself. Trainable and frozen ones never share
  /// a bucket.
  Layout(std::span<const Unit> units, std::uint64_t bucket_elements, int world);

  [[nodiscard]] int world() const { return world_; }
  [[nodiscard]] std::span<const Bucket> buckets() const { return buckets_; }
  [[nodiscard]] std::span<const Slot> slots() const { return slots_; }
  [[nodiscard]] std::uint64_t padded() const;  // Ψ: elements of all buckets

  /// Number of the bucket's first element in the whole model, counted in quanta of parameters: it
  /// does not depend on buckets or world, so random bits keyed by it do not either.
  [[nodiscard]] std::uint64_t global_index(std::size_t bucket) const;

  /// What `rank` owns of a bucket: equal for all ranks in size, possibly padding only.
  [[nodiscard]] Range shard(std::size_t bucket, Rank rank) const;
  /// `range` cut into tiles.
  [[nodiscard]] static std::vector<Range> tiles(Range range);
  /// The real elements in `range` of a bucket, in order.
  [[nodiscard]] std::vector<Segment> segments(std::size_t bucket, Range range) const;

 private:
  void append(std::span<const Unit> units);

  int world_;
  std::vector<Bucket> buckets_;
  std::vector<Slot> slots_;
};

}  // namespace sherd::shard
