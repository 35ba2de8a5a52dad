#include "sherd/base/errors.hpp"
#include "sherd/cli/commands.hpp"

namespace sherd::cli {

int plan(const launch::Validated&, const PlanOutput&) { throw UsageError("plan: not linked yet"); }

}  // namespace sherd::cli
