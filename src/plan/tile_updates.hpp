#pragma once
// Updates of states that lie on several tiers: tiles arrive, are updated and leave.
#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "plan/moved.hpp"

namespace sherd::plan {

class TileUpdates {
 public:
  TileUpdates(const Program& program, const Setup& setup, const MovedStates& moved, Copies& copies)
      : program_(program), setup_(setup), moved_(moved), copies_(copies) {}

  void add(Step update) { updates_.push_back(std::move(update)); }
  // What stays on the device is updated there; the rest where it was told to, at the same time.
  void put(std::vector<Step>& out) && {
    std::vector<Item> items;
    std::vector<Step> kept, low;
    for (Step& update : updates_) {
      if (is_low(update))
        items.push_back(item_of(std::move(update)));
      else
        kept.push_back(in_place(std::move(update)));
    }
    pipeline(std::move(items), tiles_ahead, low);
    // The compute lane of a CPU issues the others' work: they start first.
    if (setup_.model.target.kind == DeviceKind::cpu) std::swap(kept, low);
    for (std::vector<Step>* steps : {&kept, &low})
      std::move(steps->begin(), steps->end(), std::back_inserter(out));
  }

 private:
  [[nodiscard]] bool is_low(const Step& update) const {
    return std::any_of(update.accesses.begin(), update.accesses.end(), [&](const Access& access) {
      const Run* run = moved_.run_of(access.buffer, update.range);
      return run != nullptr && run->low;
    });
  }
  Step in_place(Step update) const {
    for (Access& access : update.accesses) {
      if (const Run* run = moved_.run_of(access.buffer, update.range)) access.first = run->first;
    }
    return update;
  }
  Item item_of(Step update) {
    Item item;
    const bool on_host = setup_.homes.updates_on_host;
    update.lane = on_host ? Lane::host : Lane::compute;
    const Subject subject{update.subject, update.tile, update.range};
    for (Access& access : update.accesses) {
      if (access.role == Role::control) continue;
      const Run* run = moved_.run_of(access.buffer, update.range);
      Spot at{access.buffer, access.first, access.size};
      if (run != nullptr) at = moved_.at(access.buffer).spot(*run);
      at = stage(at, access.mode, subject, item);
      access = {at.buffer, access.mode, at.first, at.size, access.role, access.index};
    }
    item.work.push_back(std::move(update));
    return item;
  }
  // Where the update finds an operand; copies there and back for what it reads and writes.
  Spot stage(Spot at, Mode mode, const Subject& subject, Item& item) {
    const Tier host = setup_.host_tier(), site = setup_.homes.updates_on_host ? host : Tier::device;
    std::vector<Step> back;
    while (program_.at(at.buffer).tier != site) {
      const Tier from = program_.at(at.buffer).tier;
      const bool nearer = from != Tier::device;
      const Verb there = nearer ? Verb::fetch : Verb::evict;
      const Spot next =
          copies_.staging(at, from == host ? Tier::device : host, moved_.staging_name(at));
      if (mode != Mode::write) item.arrive.push_back(copies_.copy(there, at, next, subject));
      back.push_back(copies_.copy(nearer ? Verb::evict : Verb::fetch, next, at, subject));
      at = next;
    }
    if (mode == Mode::read) return at;
    for (std::size_t i = back.size(); i-- > 0;) item.leave.push_back(std::move(back[i]));
    return at;
  }

  const Program& program_;
  const Setup& setup_;
  const MovedStates& moved_;
  Copies& copies_;
  std::vector<Step> updates_;
};

}  // namespace sherd::plan
