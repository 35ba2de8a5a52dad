#include "sherd/launch/rank.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include "sherd/base/errors.hpp"
#include "sherd/base/log.hpp"
#include "sherd/base/poison.hpp"
#include "sherd/comm/interface.hpp"
#include "sherd/launch/machine.hpp"
#include "sherd/launch/resume.hpp"

namespace sherd::launch {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

constexpr std::uint32_t skips_that_end = 10;
constexpr std::uint64_t settled_by = 2;  // step in which a device records its phases

void judge(const engine::StepResult& result) {
  if (result.scale_at_minimum) {
    throw DivergedError(
        fmt::format("step {}: gradients overflow although the loss scale is at its minimum of {}",
                    result.step, result.loss_scale));
  }
  if (result.skipped_in_row >= skips_that_end) {
    throw DivergedError(fmt::format(
        "step {}: {} steps in a row were skipped because gradients or the loss were not finite",
        result.step, result.skipped_in_row));
  }
}

std::string new_run_id() {
  std::random_device bits;
  return fmt::format("{:08x}{:08x}{:08x}{:08x}", bits(), bits(), bits(), bits());
}

class Training {
 public:
  Training(const Validated& run, Job& job, const Prepared& prepared, const Seat& seat,
           Observer* observer)
      : run_(run),
        prepared_(prepared),
        seat_(seat),
        observer_(observer),
        comm_(communicator()),
        engine_(parts(job)) {
    manifest_.run = new_run_id();
    checkpoint::resumes(run->checkpoint) ? resume(job) : start(job);
    if (observer != nullptr) key_ = numerics_key(prepared, manifest_.start_weights);
    if (resumed_ >= prepared.steps && resumed_ > 0 && rank() == 0)
      log::info(
          fmt::format("--resume: step {} was the last: nothing is trained or saved", resumed_));
    if (prepared.plan.snapshot) prepare_saving(job);
  }

  int loop() {
    announce();
    // Every thread there will be has been started; this one takes part in each kernel.
    if (!cores_.empty()) bind_to(std::span(cores_).first(1));
    const Clock::time_point start = Clock::now();
    Clock::time_point last = start;
    engine::StepResult result;
    result.loss = std::numeric_limits<double>::quiet_NaN();
    bool evaluated = false;
    while (engine_.steps() < prepared_.steps && !result.stop) {
      seat_.control.note_step(rank(), static_cast<std::int64_t>(engine_.steps() + 1));
      result = engine_.step({seat_.control.stop_signal.load() != 0, saving_ && saving_->wish()});
      const Clock::time_point now = Clock::now();
      if (observer_ != nullptr)
        observer_->stepped(result, std::chrono::duration<double>(now - last).count());
      judge_and_settle(result);
      if (result.step == resumed_ + 1) check_reserve();
      if (result.step == resumed_ + 2 && seat_.memory.device() != nullptr)
        free_ = seat_.memory.device_free();
      if (result.step == resumed_ + settled_by) settle();
      const auto every = static_cast<std::uint64_t>(run_->batch.eval_every);
      evaluated = every > 0 && result.step % every == 0 && evaluate();
      if (result.save) saving_->begin();
      tell_saved();
      last = evaluated || result.save ? Clock::now() : now;
    }
    const auto signal =
        static_cast<int>(std::max<std::uint32_t>(seat_.control.stop_signal, SIGINT));
    if (saving_) save_last(result.stop && signal != SIGTERM);
    if (!evaluated && !result.stop && result.step > 0) evaluate();
    finish(result, seconds_since(start));
    return result.stop ? 128 + signal : 0;
  }

 private:
  std::unique_ptr<comm::Communicator> communicator() const {
    const auto timeout = std::chrono::duration_cast<std::chrono::nanoseconds>(
        std::chrono::duration<double>(run_->ranks.timeout));
    const RankEnvironment& seat = seat_.environment;
    RankMemory& memory = seat_.memory;
    if (!meets_on_host()) {
      const auto& comm = *static_cast<const comm::Interface*>(memory.device()->library.comm);
      return comm.nccl({&seat_.control, seat.rank, memory.compute_arena(), memory.net(), timeout,
                        seat.id_from, seat.id_to});
    }
    return comm::local(
        {&seat_.control, seat.rank, memory.compute_arena(), memory.peers(), timeout, memory.net()});
  }
  bool meets_on_host() const { return run_->ranks.backend != comm::Backend::nccl; }
  int rank() const { return seat_.environment.rank; }
  // Before the engine starts its threads.
  void take_cores() {
    if (!run_->ranks.pin_threads) return;
    cores_ = share_of_cores(rank(), run_->ranks.ranks);
    bind_to(cores_);
  }
  engine::EngineParts parts(Job& job) {
    take_cores();
    engine::EngineParts parts{.model = job.model,
                              .plan = prepared_.plan,
                              .arenas = {},
                              .comm = *comm_,
                              .abort = seat_.control.abort,
                              .train = *job.train};
    parts.arenas = seat_.memory.arenas();
    parts.file = seat_.memory.file();
    parts.device = seat_.memory.device();
    parts.net = seat_.memory.net();
    parts.meets_on_host = meets_on_host();
    parts.validate = job.validate.get();
    parts.precision = run_->precision;
    parts.optimizer = run_->optimizer;
    parts.reduce_order = run_->sharding.reduce_order;
    parts.seed = run_->model.seed;
    parts.total_steps = prepared_.steps;
    parts.threads = prepared_.threads;
    parts.cores = cores_;
    parts.lanes = prepared_.overlap ? engine::Lanes::threads : engine::Lanes::inlined;
    parts.trace = seat_.trace;
    return parts;
  }
  void start(const Job& job) {
    const std::unique_ptr<model::Weights> weights =
        first_weights(run_, job, prepared_.plan.setup.model);
    if (saves() || observer_ != nullptr) manifest_.start_weights = weights->fingerprint();
    engine_.initialise(*weights);
  }
  void resume(const Job& job) {
    const checkpoint::Checkpoint from(io::storage(), run_->checkpoint.resume);
    const checkpoint::Manifest& was = from.manifest();
    for (const std::string& change : changes(from, origin_of(run_, job))) {
      if (rank() == 0) log::info("--resume: changed " + change);
    }
    if (rank() == 0 && was.world != run_->ranks.ranks)
      log::info(fmt::format("--resume: saved by {} ranks, goes on with {}", was.world,
                            run_->ranks.ranks));
    engine_.restore(from);
    manifest_.run = was.run;
    manifest_.start_weights = was.start_weights;
    resumed_ = was.progress.step;
  }
  bool saves() const { return prepared_.plan.snapshot.has_value(); }
  void prepare_saving(const Job& job) {
    Origin origin = origin_of(run_, job);
    manifest_.library = seat_.version;
    manifest_.world = run_->ranks.ranks;
    manifest_.model = std::move(origin.model);
    manifest_.data = std::move(origin.data);
    manifest_.settings = std::move(origin.settings);
    manifest_.numerics_key = key_;
    saving_.emplace(Saving::Parts{engine_, seat_.control, rank(), run_->ranks.ranks,
                                  run_->checkpoint, io::storage(), manifest_, resumed_});
  }
  // What is being saved when a run diverges is what one would go back to.
  void judge_and_settle(const engine::StepResult& result) try {
    judge(result);
  } catch (const DivergedError&) {
    if (saving_) save_last(true);
    throw;
  }
  void save_last(bool settles_only) {
    settles_only ? saving_->settle() : saving_->finish();
    tell_saved();
  }
  void tell_saved() {
    if (observer_ == nullptr || !saving_) return;
    while (const std::optional<Saved> saved = saving_->news()) observer_->saved(*saved);
  }
  void announce() {
    comm_->barrier({"start"});
    if (observer_ == nullptr) return;
    RunStart start{prepared_,
                   key_,
                   prepared_.plan.setup.model.parameters(),
                   {},
                   {},
                   resumed_,
                   checkpoint::resumes(run_->checkpoint) ? run_->checkpoint.resume : ""};
    for (int r = 0; r < comm_->world(); ++r)
      start.pids.push_back(seat_.control.ranks[static_cast<std::size_t>(r)].pid.load());
    if (seat_.memory.file() != nullptr) start.io_engine = seat_.memory.file()->engine();
    observer_->started(start);
  }
  // The first step has called every kernel once: what libraries hold beside the arena is known now.
  void check_reserve() {
    if (seat_.memory.device() != nullptr)
      return warn_of(seat_.memory.taken_by_libraries().value_or(0), prepared_.plan.runtime);
    if (poison_works()) return;  // most of it would be the sanitizer's own
    Bytes arenas = 0;
    for (const std::span<std::byte> arena : seat_.memory.arenas()) arenas += arena.size();
    const Bytes peak = peak_resident();
    warn_of(peak - std::min(peak, arenas), prepared_.plan.runtime);
  }
  static void warn_of(Bytes libraries, Bytes reserve) {
    if (libraries <= reserve) return;
    log::warn(fmt::format("libraries hold {} beside the arena, more than the {} set aside for them",
                          format_bytes(libraries), format_bytes(reserve)));
  }
  void settle() {
    if (observer_ != nullptr && seat_.memory.device() != nullptr)
      observer_->settled(engine_.phases());
  }
  bool evaluate() {
    if (!prepared_.plan.evaluate) return false;
    const double loss = engine_.evaluate();
    if (observer_ != nullptr) observer_->evaluated(engine_.steps(), loss);
    return true;
  }
  void finish(const engine::StepResult& result, double seconds) {
    engine_.drain();
    const comm::Traffic wire = comm_->traffic();
    const std::string hash = engine_.parameters_hash();
    seat_.control.ranks[static_cast<std::size_t>(rank())].rss_peak.store(peak_resident());
    comm_->barrier({"end"});
    if (observer_ == nullptr) return;
    Bytes rss = 0;
    for (int r = 0; r < comm_->world(); ++r)
      rss = std::max(rss, seat_.control.ranks[static_cast<std::size_t>(r)].rss_peak.load());
    RunSummary summary{engine_.steps(), result.loss, hash,    wire, engine_.ledger(),
                       engine_.plan(),  rss,         seconds, {}};
    if (free_) summary.device_growth = *free_ - std::min(*free_, seat_.memory.device_free());
    observer_->ended(summary);
  }

  const Validated& run_;
  const Prepared& prepared_;
  Seat seat_;
  Observer* observer_;
  std::vector<int> cores_;  // this rank's, with --pin-threads
  std::unique_ptr<comm::Communicator> comm_;
  engine::Engine engine_;
  std::string key_;
  checkpoint::Manifest manifest_;  // of every save: all but its progress and contents
  std::uint64_t resumed_ = 0;      // step
  std::optional<Saving> saving_;
  std::optional<Bytes> free_;  // on the device, after step 2
};

}  // namespace

int run_rank(const Validated& run, Job& job, const Prepared& prepared, const Seat& seat,
             Observer* observer) {
  return Training(run, job, prepared, seat, observer).loop();
}

}  // namespace sherd::launch
