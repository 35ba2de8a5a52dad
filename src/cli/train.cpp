#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <optional>
#include <sstream>

#include "cli/narrator.hpp"
#include "cli/plan_text.hpp"
#include "cli/resolved.hpp"
#include "cli/trace_file.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/base/log.hpp"
#include "sherd/cli/commands.hpp"
#include "sherd/cli/session.hpp"
#include "sherd/launch/supervisor.hpp"

namespace sherd::cli {
namespace {

std::vector<std::string> own_arguments() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> arguments;
  for (std::string one; std::getline(file, one, '\0');) arguments.push_back(one);
  return arguments;
}

std::vector<std::string> own_environment() {
  std::vector<std::string> all;
  for (char** at = environ; *at != nullptr; ++at) all.emplace_back(*at);
  return all;
}

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
        run, job, prepared, {*control, seat, *memory, trace ? &*trace : nullptr}, narrator.get());
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

int supervise(const launch::Validated& run) {
  launch::SupervisorConfig config;
  config.world = run->ranks.ranks;
  config.program.arguments = own_arguments();
  config.program.environment = own_environment();
  const launch::RunEnd end = launch::Supervisor(std::move(config)).run();
  if (!end.cause.empty()) log::error(end.cause);
  return end.exit_code;
}

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
  std::optional<io::OffloadFolder> folder;  // held while the ranks run
  {
    const launch::Job job = make_job();
    const launch::Prepared prepared = launch::prepare(run, job, 0);
    // Weights that do not fit the network must show before a rank starts and a log is truncated.
    (void)launch::first_weights(run, job, prepared.plan.setup.model);
    if (run->output.dry_run) {
      std::cout << plan_text(run, job, prepared) << std::flush;
      return 0;
    }
    if (prepared.plan.need(memory::Tier::file) > 0) folder.emplace(run->file_tier);
    launch::require_fit(run, job, prepared.plan, launch::limits_of(run));
    if (job.check_data) job.check_data();
  }
  return supervise(run);
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
