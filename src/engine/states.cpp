#include "engine/states.hpp"

#include <algorithm>
#include <atomic>
#include <optional>
#include <utility>
#include <vector>

#include "sherd/base/errors.hpp"
#include "sherd/checkpoint/parameters_hash.hpp"
#include "sherd/kernels/block8.hpp"
#include "sherd/kernels/update.hpp"

namespace sherd::engine {
namespace {

using plan::State;
using plan::StateBuffer;
using shard::Range;

// Elements a worker handles at once.
constexpr std::uint64_t state_portion = 64 * 1024;

/// task(first, count) over [0, count) by portions, on all threads of the stream.
template <class Task>
void for_portions(std::uint64_t count, StreamRef stream, Task&& task) {
  const auto tasks = static_cast<std::int64_t>(ceil_div(count, state_portion));
  stream.workers().run(tasks, [&](std::int64_t index, int) {
    const std::uint64_t first = static_cast<std::uint64_t>(index) * state_portion;
    task(first, std::min(state_portion, count - first));
  });
}

View cut(const View& view, std::uint64_t first, std::uint64_t count) {
  return {view.data + bytes_of(view.type, first), {1, static_cast<std::int64_t>(count)}, view.type};
}

/// A bucket's parameters and their masters, as far as the formats have them.
struct WeightPlaces {
  WeightPlaces(const Residence& in, std::size_t bucket)
      : param(in, *plan::state_buffer(in.plan.setup, State::param, bucket)) {
    if (auto of = plan::state_buffer(in.plan.setup, State::master, bucket))
      master.emplace(in, *std::move(of));
  }

  StatePlace param;
  std::optional<StatePlace> master;
};

/// A tile of both.
struct Weight {
  Weight(const WeightPlaces& places, Range range, HeldTile::Fill fill)
      : param(places.param, range, fill) {
    if (places.master) master.emplace(*places.master, range, fill);
  }
  /// `values` goes on with zeros to the end of its last quantum.
  void set(const std::vector<float>& values, std::uint64_t first, std::uint64_t count) const {
    const bool packs = param.view().type == DType::q8;
    if (packs) count = values.size();
    const View source{const_cast<std::byte*>(reinterpret_cast<const std::byte*>(values.data())),
                      {1, static_cast<std::int64_t>(count)},
                      DType::f32};
    const View stored = cut(param.view(), first, count);
    const View& exact = master ? master->view() : param.view();
    if (exact.type == DType::f32)
      std::copy_n(values.data(), count, cut(exact, first, count).as<float>());
    if (stored.type == DType::f32) return;
    device::Stream own(1);  // of this worker
    if (packs) return kernels::encode_blocks(source, stored, own);
    kernels::store_master(source, stored, remainder(first, count), own);
  }
  /// fp32 master weights; `space` holds those that are kept in two parts, or in 8 bits.
  const float* values(std::uint64_t first, std::uint64_t count, std::vector<float>& space) const {
    const View& whole = master && master->view().type == DType::f32 ? master->view() : param.view();
    if (whole.type == DType::f32) return cut(whole, first, count).as<float>();
    const bool packs = whole.type == DType::q8;
    if (packs) count = round_up(count, q8_elements);
    space.resize(count);
    const View stored = cut(param.view(), first, count);
    const View wide{reinterpret_cast<std::byte*>(space.data()), stored.shape, DType::f32};
    if (packs) {
      device::Stream own(1);
      kernels::decode_blocks(stored, wide, own);
    } else {
      kernels::load_master(stored, remainder(first, count), wide);
    }
    return space.data();
  }
  void put() const {
    param.put();
    if (master) master->put();
  }

  HeldTile param;
  std::optional<HeldTile> master;

 private:
  [[nodiscard]] View remainder(std::uint64_t first, std::uint64_t count) const {
    if (!master || master->view().type == DType::f32) return {};
    return cut(master->view(), first, count);
  }
};

// Records are read before updates write them: moments, and parameters of peers.
void write_zeros(const Residence& in, State state, std::size_t bucket, Range but) {
  const std::optional<StateBuffer> buffer = plan::state_buffer(in.plan.setup, state, bucket);
  if (!buffer || buffer->home != plan::Tier::file) return;
  const StatePlace place(in, *buffer);
  for (const plan::Run& run : place.runs) {
    const bool loaded = run.range.first >= but.first && run.range.end() <= but.end();
    if (run.low && !loaded) HeldTile(place, run.range, HeldTile::Fill::zero).put();
  }
}

// Coded again, 8-bit blocks would become others.
const checkpoint::Tensor* blocks_of(const plan::Setup& setup, std::size_t bucket,
                                    const std::string& name, const checkpoint::Checkpoint* from) {
  if (from == nullptr || !setup.packs(bucket)) return nullptr;
  const checkpoint::Tensor* tensor = from->find(name);
  return tensor != nullptr && tensor->in_blocks() ? tensor : nullptr;
}

Range common(Range a, Range b) {
  const std::uint64_t first = std::max(a.first, b.first), end = std::min(a.end(), b.end());
  return {first, end > first ? end - first : 0};
}

}  // namespace

View persistent_view(const plan::Scheduled& scheduled, const Arenas& arenas,
                     const std::string& name) {
  const plan::BufferId id = plan::find_buffer(scheduled.program, name);
  const plan::Buffer& buffer = scheduled.program.at(id);
  expects(buffer.persistent, "engine: buffer " + name + " does not outlive a step");
  const auto numel = static_cast<std::int64_t>(numel_of(buffer.type, buffer.size));
  return {arenas[static_cast<std::size_t>(buffer.tier)].data() +
              scheduled.at[plan::index_of(id)].offset,
          {1, numel},
          buffer.type};
}

StatePlace::StatePlace(const Residence& residence, StateBuffer of)
    : in(residence), state(std::move(of)), runs(plan::runs_of(in.plan.setup, state)) {
  const plan::Scheduled& scheduled = in.plan.train;
  const auto offset = [&](const std::string& name) {
    return scheduled.at[plan::index_of(plan::find_buffer(scheduled.program, name))].offset;
  };
  kept = offset(state.name);
  if (state.moved()) low = offset(state.low_name());
}

HeldTile::HeldTile(const StatePlace& place, Range range, Fill fill) : in_(place.in) {
  const StateBuffer& state = place.state;
  const auto run =
      std::partition_point(place.runs.begin(), place.runs.end(),
                           [&](const plan::Run& r) { return r.range.end() <= range.first; });
  expects(
      run != place.runs.end() && run->range.first <= range.first && range.end() <= run->range.end(),
      "engine: got a range over several tiles of " + state.name);
  const plan::Tier tier = run->low ? state.home : plan::Tier::device;
  const Bytes first = run->first + bytes_of(state.type, range.first - run->range.first);
  const Shape shape{1, static_cast<std::int64_t>(range.count)};
  offset_ = (run->low ? place.low : place.kept) + first;
  if (tier == plan::Tier::file) {
    expects(range == run->range, "engine: got a part of a record of " + state.name);
    record_ = state.low_name() + " tile at " + std::to_string(range.first);
    held_ = memory::Arena::anonymous(io::record_bytes(run->size));
    view_ = {held_.bytes().data() + io::direct_block, shape, state.type};
    if (fill == Fill::current) in_.file->read(offset_, held_.bytes(), run->size, record_);
    return;
  }
  home_ = {in_.arenas[static_cast<std::size_t>(tier)].data() + offset_, shape, state.type};
  view_ = home_;
  if (tier != plan::Tier::device || in_.device.kind() == DeviceKind::cpu) return;
  held_ = memory::Arena::anonymous(home_.bytes());
  view_.data = held_.bytes().data();
  if (fill == Fill::current) device::copy(view_.raw(), home_.raw(), in_.device);
}

void HeldTile::put() const {
  if (!record_.empty()) return in_.file->write(offset_, held_.bytes(), view_.bytes(), record_);
  if (!held_.bytes().empty()) device::copy(home_.raw(), view_.raw(), in_.device);
}

void load_weights(const Residence& in, const model::Weights& weights,
                  const checkpoint::Checkpoint* from) {
  const plan::Setup& setup = in.plan.setup;
  for (std::size_t b = 0; b < setup.layout.buckets().size(); ++b) {
    const Range held = setup.held(b);
    write_zeros(in, State::param, b, held);
    write_zeros(in, State::moment1, b, {});
    write_zeros(in, State::moment2, b, {});
    const WeightPlaces places(in, b);
    for (const plan::Tile& tile : plan::tiles_of(setup, b, held)) {
      const Weight weight(places, tile.range, HeldTile::Fill::zero);
      for (const shard::Segment& segment : setup.layout.segments(b, tile.range)) {
        const model::ParamSpec& param = setup.model.params[segment.param];
        const checkpoint::Tensor* blocks = blocks_of(setup, b, param.name, from);
        for_portions(segment.count, in.host, [&](std::uint64_t done, std::uint64_t count) {
          const std::uint64_t first = segment.in_param + done, at = segment.in_range + done;
          const std::uint64_t room = round_up(count, q8_elements);
          if (blocks != nullptr)
            return from->read_blocks(*blocks, first, cut(weight.param.view(), at, room));
          std::vector<float> values(room);  // outside the arena but small
          weights.read(param, first, std::span(values).first(count));
          weight.set(values, at, count);
        });
      }
      weight.put();
    }
  }
}

void load_moments(const Residence& in, const checkpoint::Checkpoint& from) {
  const plan::Setup& setup = in.plan.setup;
  for (std::size_t b = 0; b < setup.layout.buckets().size(); ++b) {
    for (const State moment : {State::moment1, State::moment2}) {
      const std::optional<StateBuffer> buffer = plan::state_buffer(setup, moment, b);
      if (!buffer || from.manifest().progress.applied == 0) continue;  // zero, as they start
      const StatePlace place(in, *buffer);
      for (const plan::Tile& tile : plan::tiles_of(setup, b, setup.held(b))) {
        const HeldTile held(place, tile.range, HeldTile::Fill::zero);
        for (const shard::Segment& segment : setup.layout.segments(b, tile.range)) {
          const checkpoint::Tensor* tensor = from.find(setup.model.params[segment.param].name);
          for_portions(segment.count, in.host, [&](std::uint64_t done, std::uint64_t count) {
            const bool blocks = buffer->type == DType::q8;  // whole ones, with their padding
            const std::uint64_t room = blocks ? round_up(count, q8_elements) : count;
            from.read_moment(*tensor, static_cast<checkpoint::State>(moment),
                             segment.in_param + done,
                             cut(held.view(), segment.in_range + done, room));
          });
        }
        held.put();
      }
    }
  }
}

Digest digest_of(const Residence& in) {
  const plan::Setup& setup = in.plan.setup;
  std::array<std::atomic<std::uint64_t>, 2> digest{};  // sums: any order gives the same
  for (std::size_t b = 0; b < setup.layout.buckets().size(); ++b) {
    const Range owned = setup.layout.shard(b, setup.rank);  // also where everybody holds everything
    const WeightPlaces places(in, b);
    for (const plan::Tile& tile : plan::tiles_of(setup, b, setup.held(b))) {
      const Range mine = common(tile.range, owned);
      if (mine.count == 0) continue;
      const Weight weight(places, tile.range, HeldTile::Fill::current);
      for (const shard::Segment& segment : setup.layout.segments(b, mine)) {
        const std::string& name = setup.model.params[segment.param].name;
        const std::uint64_t start = mine.first - tile.range.first + segment.in_range;
        for_portions(segment.count, in.host, [&](std::uint64_t first, std::uint64_t count) {
          std::vector<float> space;
          const float* values = weight.values(start + first, count, space);
          Digest part{};
          checkpoint::add_weights(part, name, segment.in_param + first, {values, count});
          digest[0] += part[0];
          digest[1] += part[1];
        });
      }
    }
  }
  return {digest[0], digest[1]};
}

}  // namespace sherd::engine
