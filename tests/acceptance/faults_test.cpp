#include <filesystem>

#include "acceptance/program.hpp"

using namespace sherd::test;

namespace {

/// A run without end, in its fourth step or later, and the ranks it has.
struct Running {
  Bench bench;
  std::string log = bench.folder.file("log");
  Process process;
  std::vector<pid_t> pids;

  explicit Running(const std::string& flags)
      : process(Words{SHERD_BINARY} + bench.small_run("--steps 100000000 --quiet " + flags) +
                Words{"--log", log}) {
    REQUIRE(wait_until([this] { return events(log).size() > 4; }));
    pids = events(log).front().at("pids").get<std::vector<pid_t>>();
  }
  void check_all_gone() const {
    for (const pid_t pid : pids) CHECK(wait_until([pid] { return is_gone(pid); }));
    if (!std::filesystem::is_directory("/dev/shm")) return;
    for (const auto& entry : std::filesystem::directory_iterator("/dev/shm"))
      CHECK(entry.path().filename().string().find("sherd") == std::string::npos);
  }
};

void check_named(const std::string& err, const std::string& rank) {
  INFO(err);
  CHECK(err.find("rank " + rank) != std::string::npos);
  CHECK(err.find("step ") != std::string::npos);
  bool collective = false;
  for (const char* verb : {"all_gather", "reduce_scatter", "all_reduce", "barrier", "collective"})
    collective = collective || err.find(verb) != std::string::npos;
  CHECK(collective);
}

}  // namespace

TEST_CASE("a killed rank ends the run with exit code 5 and its name") {
  for (const std::string flags : {"--ranks 3", "--ranks 3 --zero-stage 3 --overlap on"}) {
    for (const std::size_t victim : {std::size_t{0}, std::size_t{2}}) {
      CAPTURE(flags);
      CAPTURE(victim);
      Running run(flags);
      kill(run.pids[victim], SIGKILL);
      const Outcome outcome = run.process.wait();
      CHECK(outcome.code == 5);
      check_named(outcome.err, std::to_string(victim));
      CHECK(outcome.err.find("SIGKILL") != std::string::npos);
      CHECK(outcome.out.empty());
      run.check_all_gone();
      CHECK(events(run.log).back().at("event") == "step");
    }
  }
}

TEST_CASE("a stopped rank is named once the timeout has passed") {
  Running run("--ranks 3 --zero-stage 2 --timeout 1");
  kill(run.pids[1], SIGSTOP);
  const Outcome outcome = run.process.wait();
  CHECK(outcome.code == 5);
  check_named(outcome.err, "1");
  run.check_all_gone();
}

TEST_CASE("interrupt and terminate end in order with the signal's exit code and an end event") {
  for (const auto& [signal, code] : {std::pair{SIGINT, 130}, std::pair{SIGTERM, 143}}) {
    for (const std::string flags : {"--ranks 1", "--ranks 2 --zero-stage 3 --overlap on"}) {
      CAPTURE(signal);
      CAPTURE(flags);
      Running run(flags);
      run.process.send(signal);
      CHECK(run.process.wait().code == code);
      const std::vector<Json> log = events(run.log);
      REQUIRE(log.back().at("event") == "end");
      CHECK(log.back().at("steps") == log[log.size() - 2].at("step"));
      run.check_all_gone();
    }
  }
}

TEST_CASE("a signal to the whole group, as a terminal sends it, does the same") {
  Running run("--ranks 2");
  for (const pid_t pid : run.pids) kill(pid, SIGINT);
  run.process.send(SIGINT);
  CHECK(run.process.wait().code == 130);
  CHECK(events(run.log).back().at("event") == "end");
  run.check_all_gone();
}

TEST_CASE("no rank outlives a killed supervisor") {
  Running run("--ranks 3 --zero-stage 3");
  run.process.send(SIGKILL);
  CHECK(run.process.wait().signal == SIGKILL);
  run.check_all_gone();
}

TEST_CASE("a loss scale at its minimum that still overflows is exit code 6") {
  const Bench bench;
  const Outcome outcome = run_sherd(
      bench.small_run("--steps 50 --quiet --ranks 2 --precision fp16 --loss-scale-init 1e30 "
                      "--loss-scale-min 1e30"));
  INFO(outcome.err);
  CHECK(outcome.code == 6);
  CHECK(outcome.err.find("loss scale") != std::string::npos);
}

TEST_CASE("ten skipped steps in a row are exit code 6") {
  const Bench bench;
  const std::string log = bench.folder.file("log");
  const Outcome outcome =
      run_sherd(bench.small_run("--steps 50 --quiet --precision fp16 --loss-scale 1e30") +
                Words{"--log", log});
  INFO(outcome.err);
  CHECK(outcome.code == 6);
  const std::vector<Json> steps = events(events(log), "step");
  REQUIRE(steps.size() == 10);
  for (const Json& step : steps) CHECK(step.at("skipped") == true);
}
