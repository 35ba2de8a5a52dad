#include "sherd/base/errors.hpp"
#include "sherd/cli/commands.hpp"

namespace sherd::cli {

int bench(Bench, const BenchOutput&) { throw UsageError("bench: not linked yet"); }

}  // namespace sherd::cli
