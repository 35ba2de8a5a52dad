#include "sherd/plan/tiles.hpp"

#include <algorithm>
#include <cmath>

#include "sherd/io/record_file.hpp"

namespace sherd::plan {
namespace {

using shard::Range;

void cut(Range range, std::uint64_t most, bool low, std::vector<Tile>& tiles) {
  for (std::uint64_t done = 0; done < range.count; done += most)
    tiles.push_back({{range.first + done, std::min(most, range.count - done)}, low});
}

// Elements of a shard that leave the device, a whole number of quanta.
std::uint64_t low_elements(const Homes& homes, std::uint64_t count) {
  if (homes.all_on_device()) return 0;
  const std::uint64_t quanta = count / shard::quantum;
  return static_cast<std::uint64_t>(std::ceil(homes.fraction * static_cast<double>(quanta))) *
         shard::quantum;
}

}  // namespace

std::vector<Tile> tiles_of(const Setup& setup, std::size_t bucket, Range extent) {
  std::vector<Range> shards = {extent};
  const bool updated_apart = setup.shard_optimizer && setup.trains(bucket);
  if (updated_apart && extent.count == setup.layout.buckets()[bucket].numel) {
    shards.clear();
    for (Rank rank = 0; rank < setup.world(); ++rank)
      shards.push_back(setup.layout.shard(bucket, rank));
  }
  std::vector<Tile> tiles;
  for (const Range& shard : shards) {
    const std::uint64_t low = low_elements(setup.homes, shard.count), kept = shard.count - low;
    cut({shard.first, kept}, shard::tile_limit, false, tiles);
    cut({shard.first + kept, low}, setup.homes.tile, true, tiles);
  }
  return tiles;
}

StateBuffer param_buffer(const Setup& setup, std::size_t bucket) {
  const char* const names[2][2] = {{"p.full", "q.full"}, {"p.shard", "q.shard"}};
  const bool packs = setup.packs(bucket), shared = setup.shard_params;
  const Range whole{0, setup.layout.buckets()[bucket].numel};
  return {bucket_name(names[shared][packs], bucket), bucket,
          packs ? DType::q8 : setup.formats.param, setup.homes.params,
          shared ? setup.layout.shard(bucket, setup.rank) : whole};
}

std::optional<StateBuffer> state_buffer(const Setup& setup, State state, std::size_t bucket) {
  const Formats& f = setup.formats;
  const Range held = setup.held(bucket);
  switch (state) {
    case State::param:
      return param_buffer(setup, bucket);
    case State::master:
      if (!f.master || !setup.trains(bucket)) return std::nullopt;
      return StateBuffer{bucket_name("master", bucket), bucket, f.master_type, setup.homes.master,
                         held};
    case State::moment1:
    case State::moment2:
      if (!setup.trains(bucket) || f.moments < (state == State::moment1 ? 1 : 2))
        return std::nullopt;
      return StateBuffer{bucket_name(state == State::moment1 ? "m" : "v", bucket), bucket,
                         f.moment_type, setup.homes.moments, held};
  }
  return std::nullopt;
}

Tier home_of(const Setup& setup, const Buffer& buffer) {
  if (!buffer.persistent || buffer.tier != Tier::device) return Tier::device;
  if (buffer.use == Use::params) return setup.homes.params;
  if (buffer.use == Use::grads) return setup.homes.grads;
  if (buffer.use != Use::optimizer) return Tier::device;
  return buffer.name.starts_with("master") ? setup.homes.master : setup.homes.moments;
}

std::vector<Run> runs_of(const Setup& setup, const StateBuffer& state) {
  if (!state.moved()) return {{state.extent, false, 0, bytes_of(state.type, state.extent.count)}};
  std::vector<Run> runs;
  for (const Tile& tile : tiles_of(setup, state.bucket, state.extent))
    runs.push_back({tile.range, tile.low, 0, bytes_of(state.type, tile.range.count)});
  lay_out(state, runs);
  return runs;
}

void lay_out(const StateBuffer& state, std::vector<Run>& runs) {
  RunBytes end;
  for (Run& run : runs) {
    Bytes& at = run.low ? end.low : end.kept;
    run.first = at;
    at += run.low && state.home == Tier::file ? io::record_bytes(run.size) : run.size;
  }
}

RunBytes bytes_of_runs(const StateBuffer& state, const std::vector<Run>& runs) {
  RunBytes bytes;
  for (const Run& run : runs) {
    const bool record = run.low && state.home == Tier::file;
    (run.low ? bytes.low : bytes.kept) += record ? io::record_bytes(run.size) : run.size;
  }
  return bytes;
}

}  // namespace sherd::plan
