#include <fmt/format.h>

#include <iostream>

#include "cli/plan_search.hpp"
#include "cli/plan_text.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/base/log.hpp"
#include "sherd/cli/commands.hpp"

namespace sherd::cli {

namespace {

int search(const launch::Validated& run, const launch::Job& job, const plan::Machine& machine,
           const PlanOutput& output) {
  launch::SearchOptions options = own_search(run, machine);
  options.may_change_numerics = output.change_numerics;
  const launch::SearchResult result = launch::search(run, job, options);
  std::cout << (output.json ? search_json(result, options) + "\n" : search_text(result, options))
            << std::flush;
  if (result.any_fits()) return 0;
  throw CapacityError("none of the configurations that were planned fits what is allowed");
}

}  // namespace

int plan(const launch::Validated& run, const PlanOutput& output) {
  if (output.change_numerics && !output.search)
    throw ConfigError({"--change-numerics: needs --search"});
  const launch::Job job = launch::zoo_job(run);
  const plan::Machine machine = machine_given(output.machine, run);
  if (output.search) return search(run, job, machine, output);
  const launch::Prepared prepared = launch::prepare(run, job, 0);
  if (output.json) {
    std::cout << plan_json(run, job, prepared, machine) << std::endl;
  } else {
    std::cout << plan_text(run, job, prepared, machine);
  }
  if (output.print_program) {
    std::cout << plan::listing(prepared.plan.train);
    if (prepared.plan.evaluate) std::cout << plan::listing(*prepared.plan.evaluate);
  }
  std::cout << std::flush;
  // Without a stated limit the plan may be for another machine: then this one's memory is only
  // worth a remark.
  const bool stated = run->memory.memory_limit > 0 || run->memory.host_memory_limit > 0 ||
                      run->file_tier.file_limit > 0;
  if (stated) launch::require_fit(run, job, prepared.plan, launch::limits_of(run));
  const Bytes free = launch::limits_of(run).device, need = prepared.plan.need(memory::Tier::device);
  if (!stated && need > free) {
    log::warn(fmt::format("this machine has {} a rank free, {} less than this run needs",
                          format_bytes(free), format_bytes(need - free)));
  }
  return 0;
}

}  // namespace sherd::cli
