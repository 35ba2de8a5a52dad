#include "cli/bench_memory.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <fstream>

#include "cli/resolved.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/base/log.hpp"
#include "sherd/bench/largest.hpp"
#include "sherd/bench/timeline.hpp"
#include "sherd/cli/config_json.hpp"
#include "sherd/cli/options.hpp"
#include "sherd/launch/job.hpp"

namespace sherd::cli {
namespace {

using Rows = std::vector<sherd::bench::Row>;

void write(const char* flag, const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  if (!(file << text) || !file.flush())
    throw ConfigError({std::string(flag) + ": cannot write " + path});
}

// Rows choose their own runs: a flag that changes nothing would mislead.
bool says_something(launch::RunConfig config) {
  const launch::RunConfig usual;
  config.ranks.device = usual.ranks.device;
  config.output.quiet = usual.output.quiet;
  return to_json(config) != to_json(usual);
}

int draw_run(const MemoryPictures& wanted, const launch::RunConfig& config) {
  const launch::Validated run = resolved(config, launch::Purpose::plan);
  const launch::Prepared prepared = launch::prepare(run, launch::zoo_job(run), 0);
  const sherd::bench::Timeline timeline =
      sherd::bench::timeline_of(prepared.plan, sherd::bench::title_of(config));
  if (!wanted.html.empty()) write("--html", wanted.html, page(timeline));
  if (!wanted.timeline.empty()) write("--timeline", wanted.timeline, draw(timeline));
  for (const sherd::bench::TierTimeline& tier : timeline.tiers) {
    log::info(fmt::format("{}: {} at the peak, step {} of {}", name_of(tier.tier),
                          format_bytes(tier.live()), tier.peak_step, timeline.steps.size()));
  }
  return 0;
}

}  // namespace

CLI::App* add_bench_memory(CLI::App& bench, BenchOutput& output, launch::RunConfig& config) {
  bench.get_option("what")->required(false);  // the subcommand is one of the words it takes
  CLI::App* memory = bench.add_subcommand(
      "memory", "Bytes by plan, ledger, formula and process; the largest models; one step drawn.");
  memory->add_flag("--quick", output.quick, "seconds instead of minutes");
  memory->add_flag("--json", output.json, "a JSON line a row, on stdout");
  const auto add_file = [&](const char* flag, std::string& path, const char* help,
                            const char* type) {
    memory->add_option(flag, path, help)->type_name(type);
  };
  add_file("--plot", output.plot, "draw bytes by stage into this file", "FILE.svg");
  add_file("--plot-largest", output.memory.largest, "draw the largest models into this file",
           "FILE.svg");
  add_file("--html", output.memory.html,
           "no rows, but a page: one step of the run that the other flags say", "FILE.html");
  add_file("--timeline", output.memory.timeline, "the same as a picture", "FILE.svg");
  memory->footer(
      "\nExample: sherd bench memory --html step.html --model gpt2-124m --zero-stage 3 --ranks 4");
  add_run_options(*memory, config, {.zoo = true, .purpose = launch::Purpose::plan});
  return memory;
}

int bench_memory(BenchOutput output, const launch::RunConfig& config) {
  if (output.memory.of_run()) return draw_run(output.memory, config);
  if (says_something(config))
    throw ConfigError(
        {"bench memory: flags of a run need --html or --timeline; rows choose their "
         "own runs"});
  if (output.device == BenchOutput{}.device) output.device = config.ranks.device;
  return bench(Bench::memory, output);
}

Rows memory_rows(const BenchOutput& output, const sherd::bench::BenchOptions& options,
                 const sherd::bench::Children& children, const sherd::bench::Say& say) {
  Rows rows = sherd::bench::memory(options, children, say);
  const std::vector<sherd::bench::LargestModel> largest =
      sherd::bench::largest_models(options.quick, say);
  for (const sherd::bench::LargestModel& one : largest) rows.push_back(row_of(one));
  if (!output.memory.largest.empty())
    write("--plot-largest", output.memory.largest, sherd::bench::draw(largest));
  return rows;
}

}  // namespace sherd::cli
