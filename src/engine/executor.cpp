#include "sherd/engine/executor.hpp"

#include <algorithm>
#include <string>

#include "engine/entries.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/base/poison.hpp"

namespace sherd::engine {
namespace {

constexpr std::size_t ring_size = 4096;  // above twice what a lane's queue holds

}  // namespace

Executor::Executor(const Parts& parts, Lanes lanes)
    : parts_(parts),
      lanes_(lanes),
      ledger_number_(
          parts.ledger.add(entries_of(parts.scheduled),
                           static_cast<std::uint32_t>(parts.scheduled.program.steps.size()))),
      waits_(parts.scheduled.program.steps.size()),
      last_ticket_(parts.scheduled.program.steps.size(), 0) {
  for (const plan::Wait& wait : parts.scheduled.waits) waits_[wait.step].push_back(wait.on);
  if (lanes_ == Lanes::threads) start_workers();
  if (poison_works() && lanes_ == Lanes::inlined) {
    for (const std::span<std::byte> arena : parts_.arenas) poison(arena);
  }
}

Executor::~Executor() {
  workers_ = {};
  for (const std::span<std::byte> arena : parts_.arenas) unpoison(arena);
}

void Executor::start_workers() {
  for (const plan::Step& step : parts_.scheduled.program.steps) {
    const auto lane = static_cast<std::size_t>(step.lane);
    if (step.lane == device::Lane::compute || workers_[lane]) continue;
    rings_[lane].resize(ring_size);
    const auto task = [this, lane](std::uint32_t s, std::uint64_t ticket) {
      perform(s, rings_[lane][ticket % ring_size], static_cast<device::Lane>(lane), ticket);
    };
    workers_[lane] =
        std::make_unique<device::LaneWorker>(device::name_of(step.lane), task, parts_.abort,
                                             "rank " + std::to_string(parts_.rank) + ": ");
  }
}

// A lane's own failure tells more than the abort that it caused, in other lanes too.
void Executor::rethrow() {
  std::array<device::LaneWorker*, device::lanes> all{};
  for (std::size_t lane = 0; lane < all.size(); ++lane) all[lane] = workers_[lane].get();
  device::rethrow_cause(all);
}

void Executor::run(std::uint64_t step) try {
  Moment moment{step, 0};
  for (const plan::Phase& phase : parts_.scheduled.program.phases) {
    for (std::uint32_t round = 0; round < phase.repeat; ++round) {
      for (std::uint32_t i = phase.first; i < phase.last; ++i) issue(i, moment);
      moment.micro += phase.turn == plan::Turn::after ? 0 : 1;
    }
  }
} catch (const CommError&) {
  rethrow();
  throw;
}

void Executor::issue(std::uint32_t step, const Moment& moment) {
  const plan::Step& what = parts_.scheduled.program.steps[step];
  for (const plan::Access& access : what.accesses) {
    parts_.ledger.touch(ledger_number_, plan::index_of(access.buffer), access.first + access.size);
  }
  const auto lane = static_cast<std::size_t>(what.lane);
  const std::uint64_t ticket = ++issued_[lane];
  Issue now{{}, moment};
  for (const std::uint32_t on : waits_[step]) {
    std::uint64_t& needed =
        now.waits[static_cast<std::size_t>(parts_.scheduled.program.steps[on].lane)];
    needed = std::max(needed, last_ticket_[on]);
  }
  last_ticket_[step] = ticket;
  if (!workers_[lane]) return perform(step, now, what.lane, ticket);
  rings_[lane][ticket % ring_size] = now;
  workers_[lane]->push(step, ticket);
}

void Executor::perform(std::uint32_t step, const Issue& issue, device::Lane lane,
                       std::uint64_t ticket) {
  if (lanes_ == Lanes::threads) {
    for (std::size_t on = 0; on < issue.waits.size(); ++on) {
      if (issue.waits[on] > 0) progress_[on].block(issue.waits[on], parts_.abort);
    }
  }
  call(step, issue.moment);
  progress_[static_cast<std::size_t>(lane)].finish(ticket);
}

void Executor::call(std::uint32_t step, const Moment& moment) {
  if (poison_works() && lanes_ == Lanes::inlined) guard(step, true);
  if (parts_.trace == nullptr) {
    parts_.visitor.visit(step, moment);
  } else {
    const plan::Step& what = parts_.scheduled.program.steps[step];
    TraceEvent event{parts_.scheduled.program.name.c_str(),
                     step,
                     what.verb,
                     what.subject,
                     what.lane,
                     parts_.trace->tick(),
                     0,
                     parts_.trace->now(),
                     {}};
    parts_.visitor.visit(step, moment);
    event.duration = parts_.trace->now() - event.start;
    event.ended = parts_.trace->tick();
    parts_.trace->record(event);
  }
  if (poison_works() && lanes_ == Lanes::inlined) guard(step, false);
}

void Executor::guard(std::uint32_t step, bool open) const {
  for (const plan::Access& access : parts_.scheduled.program.steps[step].accesses) {
    const std::size_t tier =
        static_cast<std::size_t>(parts_.scheduled.program.at(access.buffer).tier);
    if (parts_.arenas[tier].empty()) continue;  // a file
    const Bytes first = parts_.scheduled.at[plan::index_of(access.buffer)].offset + access.first;
    const std::span<std::byte> bytes = parts_.arenas[tier].subspan(first, access.size);
    open ? unpoison(bytes) : poison(bytes);
  }
}

void Executor::drain() {
  for (std::size_t lane = 0; lane < workers_.size(); ++lane) {
    if (!workers_[lane]) continue;
    try {
      progress_[lane].block(issued_[lane], parts_.abort);
    } catch (const CommError&) {
      rethrow();
      throw;
    }
  }
}

}  // namespace sherd::engine
