#include "sherd/engine/stream_executor.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "engine/entries.hpp"
#include "engine/hosted_lanes.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::engine {

using device::Lane;

namespace {

constexpr std::uint32_t warm_up_rounds = 1;  // libraries choose their algorithms in the first

constexpr std::size_t at(Lane lane) { return static_cast<std::size_t>(lane); }

std::string why_on_host(Lane lane) {
  if (lane == Lane::net) return "its collectives meet on the host";
  if (lane == Lane::disk) return "it reads and writes files";
  return "its optimizer runs on the host";
}

}  // namespace

StreamExecutor::StreamExecutor(Parts parts)
    : parts_(std::move(parts)),
      ledger_number_(
          parts_.ledger.add(entries_of(parts_.scheduled),
                            static_cast<std::uint32_t>(parts_.scheduled.program.steps.size()))) {
  const plan::Program& program = parts_.scheduled.program;
  const std::size_t count = program.steps.size();
  waits_.resize(count);
  signals_.resize(count);
  latest_.resize(count, nullptr);
  tickets_.resize(count, 0);
  for (const plan::Wait& wait : parts_.scheduled.waits) {
    if (program.steps[wait.step].lane == program.steps[wait.on].lane) continue;
    waits_[wait.step].push_back(wait.on);
    signals_[wait.on] = true;
  }
  hosted_ = std::make_unique<HostedLanes>(HostedLanes::Parts{
      parts_.abort, "rank " + std::to_string(parts_.rank) + ": ",
      [this](std::uint32_t s, const Moment& moment) { serve(s, moment); }, parts_.watch});
  for (const plan::Step& step : program.steps) {
    expects(parts_.streams[at(step.lane)] != nullptr || parts_.hosted[at(step.lane)],
            "StreamExecutor: got no stream for lane " + std::string(device::name_of(step.lane)));
    marks_.emplace_back(parts_.device);
  }
  for (std::size_t lane = 0; lane < tails_.size(); ++lane) {
    if (parts_.streams[lane] != nullptr) tails_[lane].emplace(parts_.device);
  }
  start_.emplace(parts_.device);
  for (const plan::Phase& phase : program.phases) phases_.push_back({why_not(phase)});
  for (const plan::Step& step : program.steps) {
    if (parts_.hosted[at(step.lane)]) hosted_->start(step.lane);
  }
}

StreamExecutor::~StreamExecutor() {
  hosted_.reset();
  for (const Recorded& phase : phases_) {
    if (phase.graph != nullptr) parts_.device.driver->drop(phase.graph);
  }
}

std::string StreamExecutor::why_not(const plan::Phase& phase) const {
  if (parts_.replay == Replay::off) return "recording is off";
  if (parts_.trace != nullptr) return "a trace times each step";
  for (std::uint32_t i = phase.first; i < phase.last; ++i) {
    if (hosted(i)) return why_on_host(lane_of(i));
    if (parts_.scheduled.program.steps[i].group != plan::Group::none)
      return "its collectives are watched one by one";
    if (std::string reason = parts_.visitor.varies(i); !reason.empty()) return reason;
  }
  return {};
}

bool StreamExecutor::hosted(std::uint32_t step) const { return parts_.hosted[at(lane_of(step))]; }

Lane StreamExecutor::lane_of(std::uint32_t step) const {
  return parts_.scheduled.program.steps[step].lane;
}

device::Stream& StreamExecutor::stream(Lane lane) const { return *parts_.streams[at(lane)]; }

void StreamExecutor::run(std::uint64_t step) try {
  Moment moment{step, 0};
  const std::vector<plan::Phase>& phases = parts_.scheduled.program.phases;
  for (std::size_t p = 0; p < phases.size(); ++p) {
    for (std::uint32_t round = 0; round < phases[p].repeat; ++round) {
      play(p, moment);
      moment.micro += phases[p].turn == plan::Turn::after ? 0U : 1U;
    }
  }
} catch (const CommError&) {
  hosted_->rethrow();  // a lane's own failure tells more than the abort that it caused
  throw;
}

void StreamExecutor::play(std::size_t phase, const Moment& moment) {
  const plan::Phase& steps = parts_.scheduled.program.phases[phase];
  Recorded& state = phases_[phase];
  if (!state.why_not.empty() || ++state.rounds <= warm_up_rounds) {
    for (std::uint32_t i = steps.first; i < steps.last; ++i) issue(i, moment);
    return;
  }
  replay(phase, moment);
}

void StreamExecutor::replay(std::size_t phase, const Moment& moment) {
  const plan::Phase& steps = parts_.scheduled.program.phases[phase];
  for (std::uint32_t i = steps.first; i < steps.last; ++i) {
    touch(i);
    parts_.visitor.prepare(i, moment);
  }
  // No thread of the host calls the device while one records.
  if (phases_[phase].graph == nullptr) hosted_->block(hosted_->handed());
  join_lanes(steps);
  if (phases_[phase].graph == nullptr && !try_record(phase, moment)) {
    for (std::uint32_t i = steps.first; i < steps.last; ++i) {
      gate(i);
      visit(i, moment);
    }
    return;
  }
  parts_.device.driver->launch(*phases_[phase].graph, stream(Lane::compute).queue());
  part_lanes();
  for (std::uint32_t i = steps.first; i < steps.last; ++i) {
    parts_.visitor.queued(i);
    latest_[i] = &*tails_[at(Lane::compute)];
    tickets_[i] = 0;
  }
}

// A library may use what cannot be recorded: then the phase is issued, as in its first round.
bool StreamExecutor::try_record(std::size_t phase, const Moment& moment) {
  device::Driver& driver = *parts_.device.driver;
  const std::vector<const device::Ready*> before =
      std::exchange(latest_, std::vector<const device::Ready*>(latest_.size(), nullptr));
  try {
    record(phase, moment);
  } catch (const DeviceError& error) {
    recording_ = false;
    phases_[phase].why_not = std::string("it cannot be recorded: ") + error.what();
    try {
      driver.drop(driver.end_recording(stream(Lane::compute).queue()));
    } catch (const DeviceError&) {  // what failed may have ended it
    }
  }
  latest_ = before;
  return phases_[phase].graph != nullptr;
}

// Inside, lanes start behind the recording's own start and end before its end; what came before it
// is ordered by the launch.
void StreamExecutor::record(std::size_t phase, const Moment& moment) {
  const plan::Phase& steps = parts_.scheduled.program.phases[phase];
  device::Stream& compute = stream(Lane::compute);
  parts_.device.driver->begin_recording(compute.queue());
  recording_ = true;
  forked_ = {};
  start_->record(compute);
  for (std::uint32_t i = steps.first; i < steps.last; ++i) {
    fork(parts_.scheduled.program.steps[i].lane);
    gate(i);
    visit(i, moment);
  }
  for (std::size_t lane = 0; lane < forked_.size(); ++lane) {
    if (!forked_[lane]) continue;
    tails_[lane]->record(*parts_.streams[lane]);
    tails_[lane]->gate(compute);
  }
  recording_ = false;
  phases_[phase].graph = parts_.device.driver->end_recording(compute.queue());
}

void StreamExecutor::fork(Lane lane) {
  if (lane == Lane::compute || forked_[at(lane)]) return;
  start_->gate(stream(lane));
  forked_[at(lane)] = true;
}

// What a phase needs of hosted lanes is done before any of it is queued. Collectives also use a
// stream of the device: all of them are.
void StreamExecutor::settle(const plan::Phase& phase) {
  HostedLanes::Tickets needed{};
  if (parts_.streams[at(Lane::net)] != nullptr)
    needed[at(Lane::net)] = hosted_->handed()[at(Lane::net)];
  for (std::uint32_t i = phase.first; i < phase.last; ++i) {
    for (const std::uint32_t on : waits_[i]) {
      std::uint64_t& ticket = needed[at(lane_of(on))];
      ticket = std::max(ticket, tickets_[on]);
    }
  }
  hosted_->block(needed);
}

// The compute stream waits for all others, so that a replay may be put on it.
void StreamExecutor::join_lanes(const plan::Phase& phase) {
  settle(phase);
  for (std::size_t lane = 0; lane < tails_.size(); ++lane) {
    if (!tails_[lane] || lane == at(Lane::compute)) continue;
    tails_[lane]->record(*parts_.streams[lane]);
    tails_[lane]->gate(stream(Lane::compute));
  }
}
// And the others for the replay.
void StreamExecutor::part_lanes() {
  tails_[at(Lane::compute)]->record(stream(Lane::compute));
  for (std::size_t lane = 0; lane < tails_.size(); ++lane) {
    if (tails_[lane] && lane != at(Lane::compute))
      tails_[at(Lane::compute)]->gate(*parts_.streams[lane]);
  }
}

void StreamExecutor::touch(std::uint32_t step) {
  for (const plan::Access& access : parts_.scheduled.program.steps[step].accesses) {
    parts_.ledger.touch(ledger_number_, plan::index_of(access.buffer), access.first + access.size);
  }
}

void StreamExecutor::issue(std::uint32_t step, const Moment& moment) {
  touch(step);
  parts_.visitor.prepare(step, moment);
  if (hosted(step)) return hand_over(step, moment);
  gate(step);
  visit(step, moment);
}

void StreamExecutor::gate(std::uint32_t step) {
  const Lane lane = parts_.scheduled.program.steps[step].lane;
  for (const std::uint32_t on : waits_[step]) {
    if (tickets_[on] > 0) {
      hosted_->block(lane_of(on), tickets_[on]);
    } else if (latest_[on] != nullptr) {
      latest_[on]->gate(stream(lane));
    }
  }
}

void StreamExecutor::visit(std::uint32_t step, const Moment& moment) {
  const plan::Step& what = parts_.scheduled.program.steps[step];
  if (parts_.trace == nullptr) {
    parts_.visitor.visit(step, moment);
  } else {
    Trace& trace = *parts_.trace;
    TraceEvent event{parts_.scheduled.program.name.c_str(),
                     step,
                     what.verb,
                     what.subject,
                     what.lane,
                     trace.tick(),
                     0,
                     trace.now(),
                     {}};
    parts_.visitor.visit(step, moment);
    if (!hosted(step)) device::block(stream(what.lane), parts_.abort, parts_.watch);
    event.duration = trace.now() - event.start;
    event.ended = trace.tick();
    trace.record(event);
  }
  if (!recording_) parts_.visitor.queued(step);
  if (hosted(step) || !signals_[step]) return;
  marks_[step].record(stream(what.lane));
  latest_[step] = &marks_[step];
}

// A mark is recorded again only by a later turn of its step, which waits for this one.
void StreamExecutor::hand_over(std::uint32_t step, const Moment& moment) {
  HostedLanes::Tickets tickets{};
  needed_.clear();
  for (const std::uint32_t on : waits_[step]) {
    std::uint64_t& ticket = tickets[at(lane_of(on))];
    ticket = std::max(ticket, tickets_[on]);
    if (tickets_[on] == 0 && latest_[on] != nullptr) needed_.push_back(latest_[on]);
  }
  tickets_[step] = hosted_->hand_over(lane_of(step), step, moment, needed_, tickets);
}

// Where the step puts work on a stream, it has run at the end.
void StreamExecutor::serve(std::uint32_t step, const Moment& moment) {
  visit(step, moment);
  device::Stream* const used = parts_.streams[at(lane_of(step))];
  if (used != nullptr) device::block(*used, parts_.abort);
}

void StreamExecutor::drain() try {
  hosted_->block(hosted_->handed());
  for (device::Stream* stream : parts_.streams) {
    if (stream != nullptr) device::block(*stream, parts_.abort, parts_.watch);
  }
} catch (const CommError&) {
  hosted_->rethrow();
  throw;
}

std::vector<PhaseReport> StreamExecutor::report() const {
  std::vector<PhaseReport> all;
  for (std::size_t p = 0; p < phases_.size(); ++p) {
    const std::string& name = parts_.scheduled.program.phases[p].name;
    all.push_back(
        {parts_.scheduled.program.name, name, phases_[p].graph != nullptr, phases_[p].why_not});
  }
  return all;
}

}  // namespace sherd::engine
