#include "sherd/base/errors.hpp"
#include "sherd/cli/commands.hpp"

namespace sherd::cli {

int train(const launch::Validated&) { throw UsageError("train: not linked yet"); }

}  // namespace sherd::cli
