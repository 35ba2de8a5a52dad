#include "cli/narrator.hpp"

#include <fmt/format.h>
#include <stdio_ext.h>

#include <algorithm>
#include <cstdio>
#include <iostream>

#include "cli/report.hpp"
#include "sherd/base/log.hpp"
#include "sherd/cli/closing_table.hpp"

namespace sherd::cli {

Narrator::Narrator(const launch::Validated& run, const launch::Job& job, std::uint64_t steps)
    : run_(run),
      job_(job),
      log_(run->output.log, EventLog::Start::append),
      progress_(std::cerr, progress_style(run->output.quiet), static_cast<std::int64_t>(steps)) {}

void Narrator::started(const launch::RunStart& start) {
  const plan::Setup& setup = start.prepared.plan.setup;
  StartEvent event{*run_,         start.numerics_key, start.parameters,
                   setup.world(), start.pids,         planned_table(start.prepared.plan)};
  event.io_engine = start.io_engine;
  event.resumed_step = start.resumed_step;
  event.resumed_from = start.resumed_from;
  event.config.ranks.threads = start.prepared.threads;
  event.config.sharding.overlap = start.prepared.overlap ? plan::Overlap::on : plan::Overlap::off;
  log_.write(event);
  const std::uint64_t trained = setup.model.trainable();
  const std::string frozen =
      trained == start.parameters ? "" : fmt::format(" ({} of them trained)", trained);
  log::info(fmt::format("{} parameters{}, {} rank{} x {} thread{}, stage {}, {}; {} a rank planned",
                        start.parameters, frozen, setup.world(), setup.world() == 1 ? "" : "s",
                        start.prepared.threads, start.prepared.threads == 1 ? "" : "s",
                        run_->sharding.zero_stage,
                        launch::path_of(run_, setup.model.target.compute),
                        format_bytes(start.prepared.plan.need(memory::Tier::device))));
  if (!start.resumed_from.empty())
    log::info(fmt::format("going on from step {} of {}", start.resumed_step, start.resumed_from));
  if (!start.io_engine.empty()) {
    log::info(fmt::format("{} a rank in files of {}, by {}",
                          format_bytes(start.prepared.plan.need(memory::Tier::file)),
                          run_->file_tier.offload_dir, start.io_engine));
  }
}

void Narrator::settled(const std::vector<engine::PhaseReport>& phases) {
  for (const engine::PhaseReport& phase : phases) {
    if (phase.program != "train") continue;
    log::info(phase.replayed
                  ? fmt::format("phase {} is replayed as one graph", phase.phase)
                  : fmt::format("phase {} is issued step by step: {}", phase.phase, phase.why_not));
  }
}

void Narrator::stepped(const engine::StepResult& result, double seconds) {
  ++steps_;
  StepEvent event;
  event.step = static_cast<std::int64_t>(result.step);
  event.loss = result.loss;
  event.grad_norm = result.grad_norm;
  event.lr = result.lr;
  event.loss_scale = result.loss_scale;
  event.skipped = result.skipped;
  event.tokens = result.tokens;
  event.seconds = seconds;
  event.tokens_per_second = seconds > 0 ? static_cast<double>(result.tokens) / seconds : 0;
  log_.write(event);
  progress_.step(event);
}

void Narrator::evaluated(std::uint64_t step, double loss) {
  const EvalEvent event{static_cast<std::int64_t>(step), loss};
  log_.write(event);
  progress_.eval(event);
}

void Narrator::saved(const launch::Saved& checkpoint) {
  const CheckpointEvent event{checkpoint.step, checkpoint.folder, checkpoint.bytes,
                              checkpoint.stall_seconds, checkpoint.commit_seconds};
  log_.write(event);
  progress_.saved(event);
}

void Narrator::ended(const launch::RunSummary& summary) {
  EndEvent event;
  event.steps = static_cast<std::int64_t>(summary.steps);
  event.loss = summary.loss;
  event.parameters_hash = summary.parameters_hash;
  const auto sent = [&](comm::Verb verb) { return summary.wire[static_cast<std::size_t>(verb)]; };
  event.wire_bytes = {sent(comm::Verb::all_gather), sent(comm::Verb::reduce_scatter),
                      sent(comm::Verb::all_reduce)};
  event.peak = measured_table(summary.ledger, summary.plan.runtime);
  event.rss_peak = summary.rss_peak;
  event.seconds = summary.seconds;
  event.device_growth = summary.device_growth;
  log_.write(event);
  progress_.finish();
  if (run_->output.quiet || steps_ == 0) return;  // nothing was trained, so nothing measured
  launch::RunConfig whole = run_.asked();
  whole.sharding.zero_stage = 0;
  whole.memory = {.recompute = whole.memory.recompute};  // nothing is offloaded
  whole.file_tier = {};
  const launch::Prepared stage0 =
      launch::prepare(launch::resolve(whole, launch::Purpose::plan, run_.devices()), job_, 0);
  MemoryTable measured = event.peak;  // the reserve is declared; what libraries took is seen here
  if (!run_.on_device()) {
    const Bytes arenas = measured.device.peak + measured.host.peak;
    measured.device.runtime = summary.rss_peak - std::min(summary.rss_peak, arenas);
  }
  const plan::Homes& homes = summary.plan.setup.homes;  // a GPU's host memory is never empty
  const bool moved = !homes.all_on_device() || homes.parks_activations;
  std::cout << closing_table({planned_table(summary.plan), measured, planned_table(stage0.plan),
                              run_->sharding.zero_stage, moved ? "all on device" : "stage 0"});
  std::cout << fmt::format("resident at most {} a rank; parameters {}\n",
                           format_bytes(summary.rss_peak), summary.parameters_hash)
            << std::flush;
  if (std::cout) return;
  log::warn("cannot write the closing table to stdout");
  __fpurge(stdout);  // the run itself went well, so it must not fail at exit
  std::clearerr(stdout);
  std::cout.clear();
}

}  // namespace sherd::cli
