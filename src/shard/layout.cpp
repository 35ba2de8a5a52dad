#include "sherd/shard/layout.hpp"

#include <algorithm>

#include "sherd/base/errors.hpp"

namespace sherd::shard {
namespace {

std::uint64_t padded_numel(const Unit& unit) {
  std::uint64_t sum = 0;
  for (const std::uint64_t numel : unit.numels) sum += round_up(numel, quantum);
  return sum;
}

}  // namespace

Layout::Layout(std::span<const Unit> units, std::uint64_t bucket_elements, int world)
    : world_(world) {
  expects(world >= 1, "Layout: got a world below 1");
  for (const Unit& unit : units)
    expects(!unit.numels.empty(), "Layout: unit " + unit.name + " has no parameters");
  std::vector<std::size_t> starts;  // units that open a bucket
  std::uint64_t held = 0;
  const auto joins = [&](std::size_t u) {  // the unit before it
    return u > 0 && units[u].trainable == units[u - 1].trainable;
  };
  const auto drop_small = [&] {  // the newest bucket joins the one before
    if (!starts.empty() && held < bucket_elements && joins(starts.back())) starts.pop_back();
  };
  for (std::size_t u = 0; u < units.size(); ++u) {
    if (!joins(u)) drop_small();
    if (!joins(u) || held >= bucket_elements) {
      starts.push_back(u);
      held = 0;
    }
    held += padded_numel(units[u]);
  }
  drop_small();
  for (std::size_t b = 0; b < starts.size(); ++b) {
    const std::size_t end = b + 1 < starts.size() ? starts[b + 1] : units.size();
    append(units.subspan(starts[b], end - starts[b]));
  }
}

void Layout::append(std::span<const Unit> units) {
  Bucket bucket{"", slots_.size(), 0, 0, units.front().trainable};
  for (const Unit& unit : units) {
    bucket.name += (bucket.name.empty() ? "" : "+") + unit.name;
    for (const std::uint64_t numel : unit.numels) {
      slots_.push_back({buckets_.size(), bucket.numel, numel, round_up(numel, quantum)});
      bucket.numel += slots_.back().padded;
      ++bucket.count;
    }
  }
  bucket.numel = round_up(bucket.numel, quantum * static_cast<std::uint64_t>(world_));
  slots_.back().padded = bucket.numel - slots_.back().offset;
  buckets_.push_back(std::move(bucket));
}

std::uint64_t Layout::padded() const {
  std::uint64_t sum = 0;
  for (const Bucket& bucket : buckets_) sum += bucket.numel;
  return sum;
}

std::uint64_t Layout::global_index(std::size_t bucket) const {
  std::uint64_t sum = 0;
  for (std::size_t param = 0; param < buckets_[bucket].first; ++param)
    sum += round_up(slots_[param].numel, quantum);
  return sum;
}

Range Layout::shard(std::size_t bucket, Rank rank) const {
  const std::uint64_t count = buckets_[bucket].numel / static_cast<std::uint64_t>(world_);
  return {count * static_cast<std::uint64_t>(rank), count};
}

std::vector<Range> Layout::tiles(Range range) {
  std::vector<Range> cut;
  for (std::uint64_t at = range.first; at < range.end(); at += tile_limit) {
    cut.push_back({at, std::min(tile_limit, range.end() - at)});
  }
  return cut;
}

std::vector<Segment> Layout::segments(std::size_t bucket, Range range) const {
  std::vector<Segment> parts;
  const Bucket& b = buckets_[bucket];
  for (std::size_t param = b.first; param < b.first + b.count; ++param) {
    const Slot& slot = slots_[param];
    const std::uint64_t first = std::max(slot.offset, range.first);
    const std::uint64_t end = std::min(slot.offset + slot.numel, range.end());
    if (first < end)
      parts.push_back({param, first - slot.offset, first - range.first, end - first});
  }
  return parts;
}

}  // namespace sherd::shard
