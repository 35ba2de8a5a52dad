#pragma once
// Starts one rank process that cannot outlive its parent.
#include <sys/types.h>

#include <csignal>
#include <string>
#include <vector>

#include "sherd/launch/rank_environment.hpp"

namespace sherd::launch {

/// What every rank runs.
struct RankProgram {
  std::string path = "/proc/self/exe";
  std::vector<std::string> arguments{};    // argv, the name included
  std::vector<std::string> environment{};  // "NAME=value" each
};

/// `program` as the rank of `seat`: seat in the environment, OpenMP with one thread that waits
/// passively.
[[nodiscard]] std::vector<std::string> environment_for(const RankProgram& program,
                                                       const RankEnvironment& seat);

/// Executes `program` in a new process that holds the descriptors of `seat`, runs with signal mask
/// `mask`, ignores SIGINT, SIGTERM, SIGPIPE and SIGXFSZ, and is killed when the calling thread
/// ends.
///
/// **Errors** CommError when no process can be made. A program that cannot be executed exits 127.
[[nodiscard]] pid_t spawn(const RankProgram& program, const RankEnvironment& seat,
                          const sigset_t& mask);

}  // namespace sherd::launch
