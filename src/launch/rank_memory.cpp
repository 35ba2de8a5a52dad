#include "sherd/launch/rank_memory.hpp"

#include <algorithm>

namespace sherd::launch {

using memory::Arena;
using memory::Tier;

namespace {

Bytes ranks_on(const Validated& run, int device) {
  Bytes count = 0;
  for (Rank rank = 0; rank < run->ranks.ranks; ++rank)
    count += run.device_of(rank) == device ? 1U : 0U;
  return count;
}

}  // namespace

RankMemory::RankMemory(const Validated& run, const plan::Plan& plan, const RankEnvironment& seat) {
  const auto size = [&](Tier tier) { return plan.memory.arena[static_cast<std::size_t>(tier)]; };
  const auto at = [&](Tier tier) -> Arena& { return arenas_[static_cast<std::size_t>(tier)]; };
  if (size(Tier::file) > 0)
    file_ = io::make_record_file(run->file_tier, seat.rank, size(Tier::file));
  if (!run.on_device()) {
    at(Tier::host) = Arena::anonymous(size(Tier::host));
    const int fd = seat.arena_fds.at(static_cast<std::size_t>(seat.rank));
    // What nobody else maps may have huge pages, which shared memory seldom gets.
    at(Tier::device) = run->ranks.ranks == 1 ? Arena::anonymous(size(Tier::device))
                                             : Arena::shared(fd, size(Tier::device));
    peers_ = comm::mapped_arenas(seat.arena_fds);
    return;
  }
  device_ = device::open_device(run.devices().library, run.device_of(seat.rank));
  device::Driver& driver = *device_->driver;
  free_at_start_ = driver.info().free;
  shared_ = ranks_on(run, run.device_of(seat.rank)) > 1;
  at(Tier::device) = Arena::on(driver, device::Memory::device, size(Tier::device));
  at(Tier::pinned) = Arena::on(driver, device::Memory::pinned, size(Tier::pinned));
  net_.emplace(*device_);
  peers_ = comm::device_arenas(*device_, seat.arena_fds);
}

RankMemory::Arenas RankMemory::arenas() const {
  Arenas all;
  std::transform(arenas_.begin(), arenas_.end(), all.begin(),
                 [](const Arena& arena) { return arena.bytes(); });
  if (!borrowed_.empty()) all[0] = borrowed_;
  return all;
}

std::optional<Bytes> RankMemory::taken_by_libraries() const {
  if (!device_ || shared_) return std::nullopt;
  const Bytes gone = free_at_start_ - std::min(free_at_start_, device_free());
  return gone - std::min(gone, compute_arena().size());
}

Bytes free_on_device(const Validated& run, Rank rank) {
  const int index = run.device_of(rank);
  return device::open_device(run.devices().library, index).driver->info().free /
         std::max<Bytes>(1, ranks_on(run, index));
}

}  // namespace sherd::launch
