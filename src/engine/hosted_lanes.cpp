#include "engine/hosted_lanes.hpp"

namespace sherd::engine {

using device::Lane;

namespace {

// Steps handed over and not done: fewer than a worker's queue holds, as nobody watches who waits
// for that.
constexpr std::uint64_t most_behind = 512;
constexpr std::size_t task_slots = most_behind + 1;

}  // namespace

void HostedLanes::start(Lane lane) {
  Hosted& hosted = all_.lanes[at(lane)];
  if (hosted.worker) return;
  hosted.ring.resize(task_slots);
  hosted.worker = std::make_unique<device::LaneWorker>(
      device::name_of(lane),
      [this, &hosted](std::uint32_t step, std::uint64_t ticket) { serve(hosted, step, ticket); },
      parts_.abort, parts_.who);
}

std::uint64_t HostedLanes::hand_over(Lane lane, std::uint32_t step, const Moment& moment,
                                     std::span<const device::Ready* const> marks,
                                     const Tickets& tickets) {
  Hosted& hosted = all_.lanes[at(lane)];
  if (hosted.handed >= most_behind) block(lane, hosted.handed + 1 - most_behind);
  Task& task = hosted.ring[++hosted.handed % task_slots];
  task.moment = moment;
  task.marks.assign(marks.begin(), marks.end());
  task.tickets = tickets;
  hosted.worker->push(step, hosted.handed);
  return hosted.handed;
}

void HostedLanes::serve(Hosted& lane, std::uint32_t step, std::uint64_t ticket) {
  const Task& task = lane.ring[ticket % task_slots];
  for (const device::Ready* mark : task.marks) mark->block(parts_.abort);
  for (std::size_t on = 0; on < task.tickets.size(); ++on) {
    if (task.tickets[on] > 0) all_.lanes[on].done.block(task.tickets[on], parts_.abort);
  }
  parts_.perform(step, task.moment);
  lane.done.finish(ticket);
}

void HostedLanes::block(Lane lane, std::uint64_t ticket) const {
  all_.lanes[at(lane)].done.block(ticket, parts_.abort, parts_.watch);
}

void HostedLanes::block(const Tickets& tickets) const {
  for (std::size_t lane = 0; lane < tickets.size(); ++lane) {
    if (tickets[lane] > 0) block(static_cast<Lane>(lane), tickets[lane]);
  }
}

HostedLanes::Tickets HostedLanes::handed() const {
  Tickets all{};
  for (std::size_t lane = 0; lane < all.size(); ++lane) all[lane] = all_.lanes[lane].handed;
  return all;
}

void HostedLanes::rethrow() {
  std::array<device::LaneWorker*, device::lanes> all{};
  for (std::size_t lane = 0; lane < all.size(); ++lane) all[lane] = all_.lanes[lane].worker.get();
  device::rethrow_cause(all);
}

}  // namespace sherd::engine
