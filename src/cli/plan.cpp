#include <fmt/format.h>

#include <iostream>

#include "cli/plan_text.hpp"
#include "sherd/base/log.hpp"
#include "sherd/cli/commands.hpp"

namespace sherd::cli {

int plan(const launch::Validated& run, const PlanOutput& output) {
  const launch::Job job = launch::zoo_job(run);
  const launch::Prepared prepared = launch::prepare(run, job, 0);
  if (output.json) {
    std::cout << plan_json(run, job, prepared) << std::endl;
  } else {
    std::cout << plan_text(run, job, prepared);
  }
  if (output.print_program) {
    std::cout << plan::listing(prepared.plan.train);
    if (prepared.plan.evaluate) std::cout << plan::listing(*prepared.plan.evaluate);
  }
  std::cout << std::flush;
  // Without a stated limit the plan may be for another machine: then this one's memory is only
  // worth a remark.
  const bool stated = run->memory.memory_limit > 0 || run->memory.host_memory_limit > 0;
  if (stated) launch::require_fit(run, job, prepared.plan, launch::limits_of(run));
  const Bytes free = launch::limits_of(run).device, need = prepared.plan.need(memory::Tier::device);
  if (!stated && need > free) {
    log::warn(fmt::format("this machine has {} a rank free, {} less than this run needs",
                          format_bytes(free), format_bytes(need - free)));
  }
  return 0;
}

}  // namespace sherd::cli
