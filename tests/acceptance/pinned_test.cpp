// --pin-threads as the system sees it.
#include <sched.h>

#include <set>

#include "acceptance/program.hpp"

using namespace sherd::test;

namespace {

/// Cores that a process, or a thread of one, may run on.
std::set<int> cores_of(pid_t id) {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::set<int> cores;
  if (sched_getaffinity(id, sizeof set, &set) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(static_cast<std::size_t>(core), &set)) cores.insert(core);
  return cores;
}

}  // namespace

TEST_CASE("pinned ranks have no core in common") {
  const std::set<int> all = cores_of(0);
  const std::size_t ranks = std::min<std::size_t>(all.size(), 3);
  const Bench bench;
  const std::string log = bench.folder.file("log");
  Process process(
      Words{SHERD_BINARY} +
      bench.small_run("--steps 100000000 --quiet --pin-threads --ranks " + std::to_string(ranks)) +
      Words{"--log", log});
  REQUIRE(wait_until([&] { return events(log).size() > 4; }));
  std::set<int> taken;
  for (const Json& pid : events(log).front().at("pids")) {
    const std::set<int> cores = cores_of(pid.get<pid_t>());
    CHECK(cores.size() == 1);  // the thread that leads; helpers have the others of the share
    for (const int core : cores) {
      CHECK(all.contains(core));
      CHECK(taken.insert(core).second);
    }
  }
  kill(process.pid(), SIGINT);
  CHECK(process.wait().code == 130);
}

TEST_CASE("threads on cores of their own change no bit") {
  const Bench bench;
  check_same(bench.train("--steps 3 --offload-optimizer host --pin-threads"),
             bench.train("--steps 3 --offload-optimizer host"));
}

TEST_CASE("more threads than cores cannot be pinned: exit code 2 says how many there are") {
  const std::size_t cores = cores_of(0).size();
  const Bench bench;
  const Outcome outcome = run_sherd(bench.small_run("--steps 1 --pin-threads --ranks 2 --threads " +
                                                    std::to_string(cores / 2 + 1)));
  CHECK(outcome.code == 2);
  INFO(outcome.err);
  CHECK(outcome.err.find("--pin-threads") != std::string::npos);
  CHECK(outcome.err.find("may use " + std::to_string(cores)) != std::string::npos);
}
