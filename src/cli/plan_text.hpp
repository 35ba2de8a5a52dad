#pragma once
// A plan in words and as JSON.
#include <string>

#include "sherd/launch/job.hpp"

namespace sherd::cli {

[[nodiscard]] std::string plan_text(const launch::Validated& run, const launch::Job& job,
                                    const launch::Prepared& prepared);
[[nodiscard]] std::string plan_json(const launch::Validated& run, const launch::Job& job,
                                    const launch::Prepared& prepared);

}  // namespace sherd::cli
