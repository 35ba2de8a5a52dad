#pragma once
// A whole run, from checked flags to the exit code: supervisor in the first process, ranks in those
// it starts.
#include <functional>

#include "sherd/launch/job.hpp"

namespace sherd::cli {

/// Trains the network and data that `make_job` builds, in every rank process anew.
///
/// The program must come here with the same arguments when it is executed again: that is how ranks
/// start.
/// **Errors** as exit codes of CLI.md, each said on stderr.
int train(const launch::Validated& run, const std::function<launch::Job()>& make_job);

/// The same for a config as the flags left it, resolved here and given to `make_job`.
int train(const launch::RunConfig& config,
          const std::function<launch::Job(const launch::Validated&)>& make_job);

}  // namespace sherd::cli
