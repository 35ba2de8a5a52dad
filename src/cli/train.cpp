#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <optional>
#include <sstream>

#include "cli/narrator.hpp"
#include "cli/own_arguments.hpp"
#include "cli/plan_search.hpp"
#include "cli/plan_text.hpp"
#include "cli/resolved.hpp"
#include "cli/trace_file.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/base/log.hpp"
#include "sherd/cli/commands.hpp"
#include "sherd/cli/event_log.hpp"
#include "sherd/cli/session.hpp"
#include "sherd/launch/resume.hpp"
#include "sherd/launch/supervisor.hpp"

namespace sherd::cli {
namespace {

// A device that is too full says so here; the remedy is the same as for a limit.
std::unique_ptr<launch::RankMemory> take_memory(const launch::Validated& run,
                                                const launch::Job& job,
                                                const launch::Prepared& prepared,
                                                const launch::RankEnvironment& seat) try {
  return std::make_unique<launch::RankMemory>(run, prepared.plan, seat);
} catch (const CapacityError& full) {
  if (!run.on_device()) throw;
  log::error(full.what());
  launch::Limits limits = launch::limits_of(run);
  limits.device = std::min(limits.device, launch::free_on_device(run, seat.rank));
  launch::require_fit(run, job, prepared.plan, limits);
  throw;
}

int be_rank(const launch::Validated& run, const std::function<launch::Job()>& make_job,
            const launch::RankEnvironment& seat) {
  log::set_prefix("rank " + std::to_string(seat.rank));
  comm::ControlMapping control = comm::ControlBlock::attach(seat.control_fd);
  try {
    launch::Job job = make_job();
    const launch::Prepared prepared = launch::prepare(run, job, seat.rank);
    const std::unique_ptr<launch::RankMemory> memory = take_memory(run, job, prepared, seat);
    std::unique_ptr<Narrator> narrator;
    if (seat.rank == 0) narrator = std::make_unique<Narrator>(run, job, prepared.steps);
    if (seat.rank == 0) log::set_prefix("");
    std::optional<engine::Trace> trace;
    if (seat.rank == 0 && !run->output.trace.empty()) trace.emplace();
    const int code = launch::run_rank(
        run, job, prepared, {*control, seat, *memory, trace ? &*trace : nullptr, version()},
        narrator.get());
    if (trace) write_trace(run->output.trace, *trace, prepared.plan.setup);
    return code;
  } catch (const std::exception& error) {
    const int code = exit_code(error);
    const std::string_view text = error.what();
    const std::size_t first = std::min(text.find('\n'), text.size());
    // A peer's failure has its cause in the control block already; this keeps it. A cause is one
    // sentence, so what follows it, such as flags that fit, is said here.
    const bool won = control->fail(seat.rank, code, text.substr(0, first));
    if (won && first < text.size()) log::error(text.substr(first + 1));
    return code;
  }
}

// Over what the command line says, or beside it where a file said it.
void set_flag(std::vector<std::string>& arguments, const std::string& flag,
              const std::string& value) {
  const auto said = std::find_if(arguments.begin(), arguments.end(), [&](const std::string& word) {
    return word == flag || word.starts_with(flag + "=");
  });
  const bool apart = said != arguments.end() && *said == flag;
  if (said != arguments.end()) arguments.erase(said, said + (apart ? 2 : 1));
  arguments.push_back(flag + "=" + value);
}

// Ranks are given what --fit and --resume latest chose as flags, so that it is chosen once.
int supervise(const launch::Validated& run, const std::string& chosen, const std::string& from) {
  launch::SupervisorConfig config;
  config.world = run->ranks.ranks;
  config.program.arguments = own_arguments();
  std::istringstream flags(chosen);
  for (std::string word; flags >> word;) config.program.arguments.push_back(word);
  if (checkpoint::resumes(run->checkpoint))
    set_flag(config.program.arguments, "--resume", from.empty() ? "none" : from);
  config.program.environment = own_environment();
  const launch::RunEnd end = launch::Supervisor(std::move(config)).run();
  if (!end.cause.empty()) log::error(end.cause);
  return end.exit_code;
}

// The fastest that fits, if any does; its flags go to `chosen`.
launch::Validated fitted_run(const launch::Validated& run, const launch::Job& job,
                             std::string& chosen) {
  const std::optional<launch::Candidate> best = fitted(run, job);
  if (!best) return run;
  chosen = best->flags;
  log::info("--fit: " + (chosen.empty() ? "as asked" : chosen));
  const bool dry = run->output.dry_run;
  return launch::resolve(best->config, dry ? launch::Purpose::plan : launch::Purpose::train,
                         run.devices());
}

// False for a dry run, which ends with its plan. What is wrong must show before a rank starts and
// a log is truncated.
bool ready(const launch::Validated& run, const launch::Job& job,
           std::optional<io::OffloadFolder>& folder) {
  const launch::Prepared prepared = launch::prepare(run, job, 0);
  (void)launch::first_weights(run, job, prepared.plan.setup.model);
  if (run->output.dry_run) {
    std::cout << plan_text(run, job, prepared, machine_given({}, run)) << std::flush;
    return false;
  }
  launch::Limits limits = launch::limits_of(run);
  if (prepared.plan.need(memory::Tier::file) > 0) {
    folder.emplace(run->file_tier);
    limits.files = std::min(limits.files, folder->free());
  }
  launch::require_fit(run, job, prepared.plan, limits);
  if (job.check_data) job.check_data();
  return true;
}

/// "Save and go on" while the run is made ready: it is heeded once there is something to save.
class UserSignalHeld {
 public:
  UserSignalHeld() {
    sigemptyset(&user_);
    sigaddset(&user_, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &user_, &before_);
  }
  ~UserSignalHeld() {
    if (sigismember(&before_, SIGUSR1) == 1) return;
    const timespec at_once{};
    while (sigtimedwait(&user_, nullptr, &at_once) == SIGUSR1) {
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  UserSignalHeld(const UserSignalHeld&) = delete;
  UserSignalHeld& operator=(const UserSignalHeld&) = delete;

 private:
  sigset_t user_{}, before_{};
};

}  // namespace

int train(const launch::Validated& run, const std::function<launch::Job()>& make_job) {
  if (run->output.quiet) log::set_quiet(true);
  if (const char* text = std::getenv(launch::rank_variable)) {
    const auto seat = launch::parse_rank(text);
    if (!seat)
      throw ConfigError({std::string(launch::rank_variable) + ": got '" + text +
                         "', which no supervisor of this version wrote; unset it"});
    return be_rank(run, make_job, *seat);
  }
  const UserSignalHeld held;
  std::string chosen;
  std::optional<io::OffloadFolder> folder;  // held while the ranks run
  std::optional<launch::Continuation> continuation;
  {
    const launch::Job job = make_job();
    const launch::Validated own = run->memory.fit ? fitted_run(run, job, chosen) : run;
    if (!ready(own, job, folder)) return 0;
    continuation.emplace(run);
    if (!checkpoint::resumes(run->checkpoint)) (void)EventLog(run->output.log);  // truncated
  }
  return supervise(run, chosen, continuation->folder());
}

int train(const launch::RunConfig& config,
          const std::function<launch::Job(const launch::Validated&)>& make_job) {
  const bool dry = config.output.dry_run;  // a plan alone has no need of an end
  const launch::Validated run =
      resolved(config, dry ? launch::Purpose::plan : launch::Purpose::train);
  return train(run, [&] { return make_job(run); });
}

int train(const launch::Validated& run) {
  return train(run, [&] { return launch::zoo_job(run); });
}

}  // namespace sherd::cli
