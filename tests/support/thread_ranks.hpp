#pragma once
// The ranks of a run as threads of this process: planned, connected and driven as `launch` does it.
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "sherd/base/errors.hpp"
#include "sherd/comm/local.hpp"
#include "sherd/engine/engine.hpp"
#include "sherd/launch/devices.hpp"
#include "sherd/launch/job.hpp"
#include "sherd/memory/arena.hpp"

namespace sherd::test {

/// A run and where a test may reach into it.
struct ThreadRun {
  using Comm = std::unique_ptr<comm::Communicator>;
  launch::RunConfig config;
  std::function<launch::Job(Rank)> job;
  std::function<void(plan::Plan&, Rank)> adjust{};  // between planning and start
  std::function<Comm(Comm, const comm::ControlBlock&)> wrap{};
  std::function<std::unique_ptr<io::RecordFile>(Rank, Bytes)> make_file{};  // none: as launch does
  bool traced = false;
  Bytes slack = 0;               // of each arena, beyond the plan
  std::string device_library{};  // all ranks share its first device; none: the CPU
  engine::Replay replay = engine::Replay::where_it_can;
  std::function<void(device::OpenDevice&)> adjust_device{};  // once opened
};

/// One rank while it lives.
struct ThreadRank {
  Rank rank;
  const launch::Prepared& prepared;
  comm::ControlBlock& control;
  comm::Communicator& comm;
  std::span<std::byte> arena;
  engine::Engine& engine;
  engine::Trace& trace;
};
using RankBody = std::function<void(ThreadRank&)>;

/// How a run ended.
struct Ending {
  std::vector<std::exception_ptr> thrown;  // by rank
  std::string cause;                       // of the abort word; empty when all went well
};

/// Jobs, plans and arenas of all ranks; they outlive the threads, as a peer may read them till the
/// end.
class ThreadRanks {
 public:
  explicit ThreadRanks(const ThreadRun& run) : run_(run), validated_(resolved(run)) {
    for (Rank rank = 0; rank < world(); ++rank) {
      jobs_.push_back(run.job(rank));
      prepared_.push_back(launch::prepare(validated_, jobs_.back(), rank));
      if (run.adjust) run.adjust(prepared_.back().plan, rank);
    }
  }

  [[nodiscard]] int world() const { return validated_->ranks.ranks; }
  [[nodiscard]] const launch::Validated& validated() const { return validated_; }
  [[nodiscard]] const launch::Prepared& prepared(Rank rank) const { return prepared_[at(rank)]; }

  /// `play` on each rank's thread; an exception fails the run, as a rank process does.
  Ending each(const std::function<void(Rank, comm::ControlBlock&)>& play) {
    const comm::ControlMapping control = comm::ControlBlock::create(world());
    take_arenas();
    Ending ending{std::vector<std::exception_ptr>(at(world())), {}};
    const auto guarded = [&](Rank rank) {
      try {
        play(rank, *control);
      } catch (const std::exception& error) {
        control->fail(rank, exit_code(error), error.what());
        ending.thrown[at(rank)] = std::current_exception();
      }
    };
    std::vector<std::thread> threads;
    for (Rank rank = 0; rank < world(); ++rank) threads.emplace_back(guarded, rank);
    for (std::thread& thread : threads) thread.join();
    if (control->abort.is_set()) ending.cause = control->cause("");
    return ending;
  }

  /// An engine for each rank, then `body`.
  Ending run(const RankBody& body) {
    const auto peers = comm::thread_arenas(world());
    return each([&](Rank rank, comm::ControlBlock& control) {
      const std::chrono::duration<double> timeout(validated_->ranks.timeout);
      ThreadRun::Comm comm =
          comm::local({&control, rank, arena(rank), peers,
                       std::chrono::duration_cast<std::chrono::nanoseconds>(timeout), net(rank)});
      if (run_.wrap) comm = run_.wrap(std::move(comm), control);
      engine::Trace trace;
      engine::Engine engine(parts(rank, *comm, control, trace));
      launch::Job& job = jobs_[at(rank)];
      engine.initialise(job.weights ? *job.weights(prepared(rank).plan.setup.model)
                                    : *model::random_weights(validated_->model.seed));
      ThreadRank seat{rank, prepared(rank), control, *comm, arena(rank), engine, trace};
      body(seat);
    });
  }

  [[nodiscard]] std::span<std::byte> arena(Rank rank) const { return arenas_[at(rank)].bytes(); }
  [[nodiscard]] launch::Job& job(Rank rank) { return jobs_[at(rank)]; }

 private:
  static std::size_t at(int index) { return static_cast<std::size_t>(index); }

  static launch::Validated resolved(const ThreadRun& run) {
    if (run.device_library.empty()) return launch::resolve(run.config);
    launch::RunConfig config = run.config;
    config.ranks.device = "cuda:0";
    config.ranks.backend = comm::Backend::local;
    return launch::resolve(config, launch::Purpose::train,
                           launch::find_devices(config.ranks.device, run.device_library));
  }

  // An engine starts in zeroed memory.
  void take_arenas() {
    nets_.clear();
    arenas_.clear();
    pinned_.clear();
    devices_.clear();
    hosts_.clear();
    files_.clear();
    for (const launch::Prepared& prepared : prepared_) {
      const auto& arenas = prepared.plan.memory.arena;
      const auto rank = static_cast<Rank>(files_.size());
      hosts_.push_back(memory::Arena::anonymous(arenas[2]));
      files_.push_back(arenas[3] == 0 ? nullptr : make_file(rank, arenas[3]));
      const Bytes size = arenas[0] + run_.slack;
      if (run_.device_library.empty()) {
        arenas_.push_back(memory::Arena::anonymous(size));
        continue;
      }
      devices_.push_back(
          std::make_unique<device::OpenDevice>(device::open_device(run_.device_library, 0)));
      if (run_.adjust_device) run_.adjust_device(*devices_.back());
      device::Driver& driver = *devices_.back()->driver;
      arenas_.push_back(memory::Arena::on(driver, device::Memory::device, size));
      pinned_.push_back(memory::Arena::on(driver, device::Memory::pinned, arenas[1]));
      nets_.push_back(std::make_unique<device::Stream>(*devices_.back()));
    }
  }
  std::unique_ptr<io::RecordFile> make_file(Rank rank, Bytes size) {
    if (run_.make_file) return run_.make_file(rank, size);
    return io::make_record_file(validated_->file_tier, rank, size);
  }
  [[nodiscard]] device::Stream* net(Rank rank) const {
    return nets_.empty() ? nullptr : nets_[at(rank)].get();
  }

  engine::EngineParts parts(Rank rank, comm::Communicator& comm, comm::ControlBlock& control,
                            engine::Trace& trace) {
    const launch::Job& job = jobs_[at(rank)];
    engine::EngineParts parts{.model = jobs_[at(rank)].model,
                              .plan = prepared(rank).plan,
                              .arenas = {},
                              .comm = comm,
                              .abort = control.abort,
                              .train = *job.train};
    parts.arenas[0] = arena(rank);
    parts.arenas[2] = hosts_[at(rank)].bytes();
    parts.file = files_[at(rank)].get();
    if (!devices_.empty()) {
      parts.arenas[1] = pinned_[at(rank)].bytes();
      parts.device = devices_[at(rank)].get();
      parts.net = net(rank);
      parts.replay = run_.replay;
    }
    parts.validate = job.validate.get();
    parts.precision = validated_->precision;
    parts.optimizer = validated_->optimizer;
    parts.reduce_order = validated_->sharding.reduce_order;
    parts.seed = validated_->model.seed;
    parts.total_steps = prepared(rank).steps;
    parts.threads = prepared(rank).threads;
    parts.lanes = prepared(rank).overlap ? engine::Lanes::threads : engine::Lanes::inlined;
    parts.trace = run_.traced ? &trace : nullptr;
    return parts;
  }

  const ThreadRun& run_;
  launch::Validated validated_;
  std::vector<launch::Job> jobs_;
  std::vector<launch::Prepared> prepared_;
  std::vector<std::unique_ptr<device::OpenDevice>> devices_;  // by rank; none: the CPU
  std::vector<memory::Arena> arenas_, pinned_, hosts_;
  std::vector<std::unique_ptr<io::RecordFile>> files_;  // null: nothing is on file
  std::vector<std::unique_ptr<device::Stream>> nets_;
};

/// Rethrows what a rank threw by itself; failing that, what it heard of a peer.
inline void rethrow(const Ending& ending) {
  std::exception_ptr heard;
  for (const std::exception_ptr& error : ending.thrown) {
    if (!error) continue;
    if (!heard) heard = error;
    try {
      std::rethrow_exception(error);
    } catch (const CommError&) {
    }
  }
  if (heard) std::rethrow_exception(heard);
}

/// What a rank has to show after its steps.
struct RankResult {
  std::vector<engine::StepResult> steps;
  std::string hash;
  comm::Traffic traffic{};   // of the steps alone
  memory::TierUse measured;  // of the device
  std::array<memory::TierUse, memory::tiers> tiers;
  std::vector<std::uint64_t> changes;  // of the ledger, after each step
  std::vector<engine::TraceEvent> events;
};

/// Trains all steps on all ranks.
inline std::vector<RankResult> train(ThreadRanks& ranks) {
  std::vector<RankResult> results(static_cast<std::size_t>(ranks.world()));
  rethrow(ranks.run([&](ThreadRank& seat) {
    RankResult& result = results[static_cast<std::size_t>(seat.rank)];
    while (seat.engine.steps() < seat.prepared.steps) {
      result.steps.push_back(seat.engine.step());
      result.changes.push_back(seat.engine.ledger().changes());
    }
    seat.engine.drain();
    result.traffic = seat.comm.traffic();
    result.hash = seat.engine.parameters_hash();
    result.measured = seat.engine.ledger().measured(memory::Tier::device);
    for (int tier = 0; tier < memory::tiers; ++tier) {
      result.tiers[static_cast<std::size_t>(tier)] =
          seat.engine.ledger().measured(static_cast<memory::Tier>(tier));
    }
    result.events = seat.trace.events();
  }));
  return results;
}

}  // namespace sherd::test
