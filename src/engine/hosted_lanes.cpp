#include "engine/hosted_lanes.hpp"

#include <exception>

#include "sherd/base/errors.hpp"

namespace sherd::engine {

using device::Lane;

namespace {

constexpr std::size_t hosted_ring = 4096;  // above twice what a worker's queue holds

}  // namespace

void HostedLanes::start(Lane lane) {
  Hosted& hosted = all_.lanes[at(lane)];
  if (hosted.worker) return;
  hosted.ring.resize(hosted_ring);
  hosted.worker = std::make_unique<device::LaneWorker>(
      device::name_of(lane),
      [this, &hosted](std::uint32_t step, std::uint64_t ticket) { serve(hosted, step, ticket); },
      abort_, who_);
}

std::uint64_t HostedLanes::hand_over(Lane lane, std::uint32_t step, const Moment& moment,
                                     std::span<const device::Ready* const> marks,
                                     const Tickets& tickets) {
  Hosted& hosted = all_.lanes[at(lane)];
  Task& task = hosted.ring[++hosted.handed % hosted_ring];
  task.moment = moment;
  task.marks.assign(marks.begin(), marks.end());
  task.tickets = tickets;
  hosted.worker->push(step, hosted.handed);
  return hosted.handed;
}

void HostedLanes::serve(Hosted& lane, std::uint32_t step, std::uint64_t ticket) {
  const Task& task = lane.ring[ticket % hosted_ring];
  for (const device::Ready* mark : task.marks) mark->block(abort_);
  block(task.tickets);
  perform_(step, task.moment);
  lane.done.finish(ticket);
}

void HostedLanes::block(Lane lane, std::uint64_t ticket) const {
  all_.lanes[at(lane)].done.block(ticket, abort_);
}

void HostedLanes::block(const Tickets& tickets) const {
  for (std::size_t lane = 0; lane < tickets.size(); ++lane) {
    if (tickets[lane] > 0) all_.lanes[lane].done.block(tickets[lane], abort_);
  }
}

HostedLanes::Tickets HostedLanes::handed() const {
  Tickets all{};
  for (std::size_t lane = 0; lane < all.size(); ++lane) all[lane] = all_.lanes[lane].handed;
  return all;
}

void HostedLanes::rethrow() {
  std::exception_ptr heard;
  for (Hosted& lane : all_.lanes) {
    if (!lane.worker) continue;
    try {
      lane.worker->rethrow();
    } catch (const CommError&) {  // most likely of the abort that another lane's failure caused
      if (!heard) heard = std::current_exception();
    }
  }
  if (heard) std::rethrow_exception(heard);
}

}  // namespace sherd::engine
