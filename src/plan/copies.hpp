#pragma once
// Copies between tiers as steps: where bytes lie, and how to bring them one tier further.
#include <string>
#include <utility>
#include <vector>

#include "plan/draft.hpp"
#include "sherd/io/record_file.hpp"

namespace sherd::plan {

/// Elements of a state somewhere. In a staged record they stand behind its header.
struct Spot {
  BufferId buffer{};
  Bytes first = 0, size = 0;  // of the payload; on file `first` is the record's
};

/// What a copy is about: its bucket and tile.
struct Subject {
  std::uint16_t bucket = 0;
  std::uint32_t tile = 0;
  shard::Range range{};
};

class Copies {
 public:
  Copies(Program& program, Buffers& buffers) : program_(program), buffers_(buffers) {}

  /// A place of its own for `from` in another tier.
  [[nodiscard]] Spot staging(const Spot& from, Tier tier, std::string name) {
    const Buffer& source = program_.at(from.buffer);
    const bool record = source.tier == Tier::file;
    Buffer made{std::move(name), tier, Use::staging, source.type, from.size, false};
    if (record) made.size = io::record_bytes(from.size);
    const BufferId id = buffers_.add(std::move(made));
    return {id, record ? io::direct_block : 0, from.size};
  }

  /// `to` becomes `from`, which is at most one tier away: fetch towards the device, evict away.
  [[nodiscard]] Step copy(Verb verb, const Spot& from, const Spot& to,
                          const Subject& subject) const {
    const bool reads = program_.at(from.buffer).tier == Tier::file;
    const bool disk = reads || program_.at(to.buffer).tier == Tier::file;
    Step step{verb,
              disk ? Lane::disk : (verb == Verb::fetch ? Lane::up : Lane::down),
              Group::none,
              subject.bucket,
              subject.tile,
              {},
              static_cast<double>(from.size),
              subject.range};
    if (disk) {
      reads ? read_record(from, to, step) : write_record(from, to, step);
    } else {
      step.accesses.push_back({from.buffer, Mode::read, from.first, from.size, Role::from});
      step.accesses.push_back({to.buffer, Mode::write, to.first, to.size, Role::to});
    }
    return step;
  }

 private:
  static void read_record(const Spot& from, const Spot& to, Step& step) {
    const Bytes size = io::record_bytes(from.size);
    step.accesses.push_back({from.buffer, Mode::read, from.first, size, Role::from});
    step.accesses.push_back({to.buffer, Mode::write, to.first - io::direct_block, size, Role::to});
  }
  // The header and the padding are made by the write.
  static void write_record(const Spot& from, const Spot& to, Step& step) {
    const Bytes size = io::record_bytes(to.size), padding = size - io::direct_block - from.size;
    step.accesses.push_back(
        {from.buffer, Mode::write, from.first - io::direct_block, io::direct_block, Role::frame});
    step.accesses.push_back({from.buffer, Mode::read, from.first, from.size, Role::from});
    if (padding > 0)
      step.accesses.push_back(
          {from.buffer, Mode::write, from.first + from.size, padding, Role::frame});
    step.accesses.push_back({to.buffer, Mode::write, to.first, size, Role::to});
  }

  Program& program_;
  Buffers& buffers_;
};

/// Work that arrives, is done and leaves, so that `ahead` items arrive while one is done: memory
/// for `ahead` + 1 of them, since what left may be overwritten.
struct Item {
  std::vector<Step> arrive, work, leave;
};
inline void pipeline(std::vector<Item> items, std::size_t ahead, std::vector<Step>& out) {
  const auto append = [&](std::vector<Step>& steps) {
    for (Step& step : steps) out.push_back(std::move(step));
  };
  for (std::size_t slot = 0; slot < items.size() + ahead; ++slot) {
    if (slot < items.size()) append(items[slot].arrive);
    if (slot < ahead) continue;
    append(items[slot - ahead].work);
    append(items[slot - ahead].leave);
  }
}

}  // namespace sherd::plan
