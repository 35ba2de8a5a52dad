#include "engine/snapshot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "sherd/base/poison.hpp"
#include "sherd/shard/packed.hpp"

namespace sherd::engine {
namespace {

using plan::Access;
using plan::Role;

constexpr Bytes portion = 512 * kib;  // that a thread copies at once

const Access* find(const plan::Step& step, Role role) {
  const auto at = std::ranges::find(step.accesses, role, &Access::role);
  return at == step.accesses.end() ? nullptr : &*at;
}

DType type_at(const plan::Scheduled& program, const Access& access) {
  return program.program.at(access.buffer).type;
}

}  // namespace

checkpoint::FileImage image_of(const plan::Plan& plan) {
  const plan::Setup& setup = plan.setup;
  checkpoint::FileImage image;
  image.name = fmt::format("rank-{:03}.bin", setup.rank);
  for (const model::ParamSpec& param : setup.model.params) {
    image.names.push_back(param.name);
    image.shapes.push_back(param.shape);
  }
  for (const plan::Step& step : plan.snapshot->program.steps) {
    const Access* from = step.verb == plan::Verb::evict ? find(step, Role::from) : nullptr;
    if (from == nullptr) continue;
    for (const shard::Segment& s : setup.layout.segments(step.subject, step.range))
      image.pieces.push_back({s.param, static_cast<checkpoint::State>(from->index),
                              type_at(*plan.snapshot, *from), s.in_param, s.count});
  }
  return image;
}

Snapshot::Snapshot(const Parts& parts, checkpoint::FileWriter& writer)
    : parts_(parts), writer_(writer) {
  const plan::Scheduled& program = *parts.plan.snapshot;
  const View ring = persistent_view(program, parts.arenas, "snapshot");
  ring_ = ring.raw();
  for (const plan::Step& step : program.program.steps) tiles_.push_back(bind(step));
  if (parts.device != nullptr) copied_.emplace(*parts.device);
}

std::span<std::byte> Snapshot::bytes_at(const Access& access) const {
  const plan::Scheduled& program = *parts_.plan.snapshot;
  const auto tier = static_cast<std::size_t>(program.program.at(access.buffer).tier);
  const Bytes offset = program.at[plan::index_of(access.buffer)].offset + access.first;
  return parts_.arenas[tier].subspan(offset, access.size);
}

Snapshot::Tile Snapshot::bind(const plan::Step& step) const {
  Tile tile;
  const Access* from = find(step, Role::from);
  if (step.verb != plan::Verb::evict || from == nullptr) return tile;
  const DType type = type_at(*parts_.plan.snapshot, *from);
  std::byte* const first = bytes_at(*from).data();
  for (const shard::Segment& s : parts_.plan.setup.layout.segments(step.subject, step.range)) {
    std::byte* const at = first + bytes_of(type, s.in_range);
    const std::uint64_t rest = type == DType::q8 ? s.count % q8_elements : 0;
    const Bytes whole = bytes_of(type, s.count - rest);
    if (whole > 0) tile.copies.push_back({at, whole});
    if (rest > 0) {  // codes, then the scale behind the block's padding
      tile.copies.push_back({at + whole, rest});
      tile.copies.push_back({at + whole + q8_elements, sizeof(float)});
    }
    tile.bytes += shard::packed_bytes(type, s.count);
  }
  return tile;
}

void Snapshot::visit(std::uint32_t index, const Moment&) {
  const plan::Step& step = parts_.plan.snapshot->program.steps[index];
  if (step.verb == plan::Verb::fetch) return fetch(step);
  if (const Access* rest = find(step, Role::frame)) {  // before anybody hears of the last tile
    std::memset(bytes_at(*rest).data(), 0, rest->size);
    return;
  }
  const Tile& tile = tiles_[index];
  const Bytes end = end_ + tile.bytes;
  if (!writer_.has_room(end)) {  // not before: who writes takes time from who copies
    hand_over();
    writer_.await_room(end, parts_.abort);
  }
  under_way_.clear();
  for (const Copy& copy : tile.copies) append(copy);
  carry_out();
}

void Snapshot::fetch(const plan::Step& step) {
  const plan::Scheduled& program = *parts_.plan.snapshot;
  const Access& record = step.accesses.front();
  const plan::Buffer& buffer = program.program.at(record.buffer);
  const Bytes offset = program.at[plan::index_of(record.buffer)].offset + record.first;
  parts_.file->read(offset, bytes_at(step.accesses.back()), bytes_of(buffer.type, step.range.count),
                    buffer.name);
}

void Snapshot::append(const Copy& copy) {
  const Bytes first = end_ % ring_.size(), head = std::min(copy.bytes, ring_.size() - first);
  const auto put = [&](Bytes at, Bytes from, Bytes bytes) {
    for (Bytes done = 0; done < bytes; done += portion)
      under_way_.push_back(
          {copy.from + from + done, std::min(portion, bytes - done), ring_.data() + at + done});
  };
  put(first, 0, head);
  put(0, head, copy.bytes - head);
  end_ += copy.bytes;
}

void Snapshot::carry_out() {
  const auto one = [&](const Copy& copy) {
    device::copy({copy.to, copy.bytes}, {copy.from, copy.bytes}, parts_.down);
  };
  if (!copied_) {
    const auto task = [&](std::int64_t i, int) { one(under_way_[static_cast<std::size_t>(i)]); };
    parts_.down.workers().run(static_cast<std::int64_t>(under_way_.size()), task);
    return;
  }
  for (const Copy& copy : under_way_) one(copy);
  copied_->record(parts_.down);
}

// At a later step than the copy: a device copies meanwhile, and the sanitizer's guard of the step
// is gone.
void Snapshot::hand_over() {
  if (handed_ == end_) return;
  if (copied_) copied_->block(parts_.abort);
  if (poison_works()) unpoison(ring_);
  writer_.filled(end_);
  handed_ = end_;
}

}  // namespace sherd::engine
