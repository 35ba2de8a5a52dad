// States on files while the world goes wrong: full disks, kills, signals.
#include <sys/resource.h>

#include <filesystem>

#include "acceptance/program.hpp"

using namespace sherd::test;

namespace {

/// A run without end that moves files all the time, in its fourth step or later.
struct Running {
  Bench bench;
  ScratchFolder disk;
  std::string log = bench.folder.file("log");
  Process process;
  std::vector<pid_t> pids;

  explicit Running(const std::string& flags)
      : process(
            Words{SHERD_BINARY} +
            bench.small_run("--steps 100000000 --quiet --offload-optimizer file --offload-params "
                            "file --offload-tile 2048 --offload-dir-any --offload-dir " +
                            disk.file("") + " " + flags) +
            Words{"--log", log}) {
    REQUIRE(wait_until([this] { return events(log).size() > 4; }));
    pids = events(log).front().at("pids").get<std::vector<pid_t>>();
  }
  void check_nothing_is_left() const {
    for (const pid_t pid : pids) CHECK(wait_until([pid] { return is_gone(pid); }));
    CHECK(disk.is_empty());
  }
};

/// Files of what this process starts end at `bytes` while this lives; how it is told is theirs.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit lower{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &lower);
  }
  ~FileSizeLimit() { setrlimit(RLIMIT_FSIZE, &before_); }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
};

}  // namespace

TEST_CASE("a rank that is killed during file traffic ends the run with exit code 5 and no files") {
  for (const std::string flags : {"--ranks 1", "--ranks 3 --zero-stage 3 --overlap on",
                                  "--ranks 2 --zero-stage 1 --io-engine threads"}) {
    CAPTURE(flags);
    Running run(flags);
    kill(run.pids.back(), SIGKILL);
    const Outcome outcome = run.process.wait();
    INFO(outcome.err);
    CHECK(outcome.code == 5);
    CHECK(outcome.err.find("rank " + std::to_string(run.pids.size() - 1)) != std::string::npos);
    CHECK(outcome.err.find("SIGKILL") != std::string::npos);
    run.check_nothing_is_left();
  }
}

TEST_CASE("interrupt and terminate during file traffic end in order") {
  for (const auto& [signal, code] : {std::pair{SIGINT, 130}, std::pair{SIGTERM, 143}}) {
    for (const std::string flags :
         {"--ranks 1 --overlap off", "--ranks 2 --zero-stage 3 --overlap on"}) {
      CAPTURE(signal);
      CAPTURE(flags);
      Running run(flags);
      run.process.send(signal);
      CHECK(run.process.wait().code == code);
      CHECK(events(run.log).back().at("event") == "end");
      run.check_nothing_is_left();
    }
  }
}

TEST_CASE("a disk without room ends the run before its first step with the bytes that are needed") {
  const Bench bench;
  const ScratchFolder disk;
  const std::string flags =
      "--steps 2 --quiet --precision bf16 --offload-optimizer file "
      "--offload-dir-any --offload-dir " +
      disk.file("") + " ";
  const std::int64_t need = bench.plan(flags).at("plan").at("file").at("peak");
  const std::string log = bench.folder.file("log");
  const FileSizeLimit limit(static_cast<rlim_t>(need) - 4096);
  const Outcome outcome = run_sherd(bench.small_run(flags) + Words{"--log", log});
  INFO(outcome.err);
  CHECK(outcome.code == 3);
  CHECK(outcome.err.find("--offload-dir") != std::string::npos);
  CHECK(outcome.err.find(std::to_string(need)) != std::string::npos);
  CHECK(events(events(log), "step").empty());
  CHECK(disk.is_empty());
}
