#pragma once
// A plan in words and as JSON.
#include <string>

#include "sherd/launch/job.hpp"
#include "sherd/plan/machine.hpp"

namespace sherd::cli {

[[nodiscard]] std::string plan_text(const launch::Validated& run, const launch::Job& job,
                                    const launch::Prepared& prepared, const plan::Machine& machine);
[[nodiscard]] std::string plan_json(const launch::Validated& run, const launch::Job& job,
                                    const launch::Prepared& prepared, const plan::Machine& machine);

}  // namespace sherd::cli
