#include <iostream>

#include "cli/plan_text.hpp"
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
  launch::require_fit(run, job, prepared.plan);
  return 0;
}

}  // namespace sherd::cli
