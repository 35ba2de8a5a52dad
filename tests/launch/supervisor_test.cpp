#include "sherd/launch/supervisor.hpp"

#include <doctest/doctest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <sstream>
#include <string>
#include <vector>

#include "sherd/base/errors.hpp"

namespace {

using namespace sherd;

// A running rank_program. Its ranks hold the pipe, so the end of the output is the end of them all.
class Job {
 public:
  Job(int world, const std::string& scenario, int timeout_ms = 60'000, int grace_ms = 5'000) {
    std::array<int, 2> ends{};
    REQUIRE(pipe(ends.data()) == 0);
    const std::string numbers[] = {std::to_string(world), std::to_string(timeout_ms),
                                   std::to_string(grace_ms)};
    pid_ = fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      dup2(ends[1], STDOUT_FILENO);
      close(ends[0]);
      close(ends[1]);
      execl(SHERD_RANK_PROGRAM, "rank_program", numbers[0].c_str(), scenario.c_str(),
            numbers[1].c_str(), numbers[2].c_str(), nullptr);
      _exit(127);
    }
    close(ends[1]);
    out_ = fdopen(ends[0], "r");
  }
  ~Job() {
    if (pid_ > 0) kill(pid_, SIGKILL);
    finish();
    std::fclose(out_);
  }
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  // The next line, without its end; empty after the last.
  std::string line() {
    std::array<char, 1024> text{};
    if (std::fgets(text.data(), text.size(), out_) == nullptr) return {};
    std::string read(text.data());
    while (!read.empty() && read.back() == '\n') read.pop_back();
    return read;
  }
  // Waits until every rank has made a step; their process ids.
  std::vector<pid_t> ready(int world) {
    std::vector<pid_t> ranks(static_cast<std::size_t>(world));
    for (int rank = 0; rank < world; ++rank) {
      std::istringstream words(line());
      std::string word;
      std::size_t who = 0;
      pid_t pid = -1;
      REQUIRE((words >> word >> who >> pid));
      ranks.at(who) = pid;
    }
    return ranks;
  }
  // Reads to the end of all output and returns the exit code.
  int finish() {
    for (std::string text = line(); !text.empty(); text = line()) {
      if (text.rfind("cause ", 0) == 0) cause = text.substr(6);
      if (text.rfind("pid ", 0) == 0) pids.push_back(std::stoi(text.substr(4)));
    }
    if (pid_ <= 0) return -1;
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  std::string cause;
  std::vector<pid_t> pids;

 private:
  pid_t pid_ = -1;
  std::FILE* out_ = nullptr;
};

std::string named(const Job& job, std::size_t rank) {
  return "rank " + std::to_string(rank) + " (pid " + std::to_string(job.pids.at(rank)) + ")";
}

TEST_CASE("a run whose ranks all end well exits 0") {
  for (const int world : {1, 2, 5}) {
    Job job(world, "finish");
    CHECK(job.finish() == 0);
    CHECK(job.cause == "");
    CHECK(job.pids.size() == static_cast<std::size_t>(world));
  }
}

TEST_CASE("all ranks of a run hold one pipe") {
  Job job(4, "pipe");
  CHECK(job.finish() == 0);
  CHECK(job.cause == "");
}

TEST_CASE("a rank killed inside a collective is named with its step and collective") {
  Job job(3, "kill");
  CHECK(job.finish() == 5);
  CHECK(job.cause == named(job, 1) +
                         " was killed by signal 9 (SIGKILL) during step 3, in all_reduce \"vote\" "
                         "(collective 7)");
}

TEST_CASE("a frozen rank is named by those it keeps waiting and does not outlive the run") {
  Job job(2, "freeze", 1'000, 100);
  CHECK(job.finish() == 5);
  CHECK(job.cause ==
        "rank 1 did not finish all_reduce \"vote\" (collective 7, step 3) within 1 s: rank 1 was "
        "last seen in all_reduce \"vote\" (collective 7)");
}

TEST_CASE("an exception in a rank gives the run its code and message") {
  Job bad_data(3, "throw");
  CHECK(bad_data.finish() == 4);
  CHECK(bad_data.cause == "rank 1: labels.npy is truncated");
  Job diverged(2, "diverge");
  CHECK(diverged.finish() == 6);
  CHECK(diverged.cause == "rank 0: 10 steps skipped in a row");
}

TEST_CASE("a rank that aborts is a lost rank") {
  Job job(2, "abort");
  CHECK(job.finish() == 5);
  CHECK(job.cause == named(job, 1) +
                         " was killed by signal 6 (SIGABRT) during step 3, after all_reduce "
                         "\"vote\" (collective 7)");
}

TEST_CASE("a rank that exits without a word is a lost rank") {
  Job job(2, "exit");
  CHECK(job.finish() == 5);
  CHECK(job.cause.rfind(named(job, 1) + " exited with code 77 during step 3", 0) == 0);
}

TEST_CASE("the first of two failures is the one reported") {
  Job job(2, "two");
  CHECK(job.finish() == 3);
  CHECK(job.cause == "rank 1: the first");
}

TEST_CASE("ranks that do not hear of the end are killed after the grace period") {
  Job job(3, "deaf", 60'000, 50);
  CHECK(job.finish() == 3);
  CHECK(job.cause == "rank 0: no memory left");
}

TEST_CASE("a signal to the supervisor ends the ranks by agreement") {
  for (const int signal : {SIGINT, SIGTERM}) {
    Job job(2, "endless");
    job.ready(2);
    kill(job.pid(), signal);
    CHECK(job.finish() == 128 + signal);
    CHECK(job.cause.find("signal " + std::to_string(signal)) != std::string::npos);
  }
}

TEST_CASE("ranks leave signals to the supervisor, as a terminal signals them all") {
  Job job(2, "endless");
  const std::vector<pid_t> ranks = job.ready(2);
  for (const pid_t rank : ranks) kill(rank, SIGINT);
  for (const pid_t rank : ranks) kill(rank, SIGTERM);
  kill(job.pid(), SIGINT);
  CHECK(job.finish() == 130);
}

TEST_CASE("a second signal kills ranks that do not end") {
  Job job(2, "stubborn");
  job.ready(2);
  kill(job.pid(), SIGINT);
  kill(job.pid(), SIGTERM);  // another number, so that the two cannot merge
  const int code = job.finish();
  CHECK((code == 130 || code == 143));  // whichever the kernel hands over first
  CHECK(job.cause.find("then killed by another") != std::string::npos);
}

TEST_CASE("a frozen rank that continues in time does no harm") {
  Job job(2, "endless");
  const std::vector<pid_t> ranks = job.ready(2);
  kill(ranks[1], SIGSTOP);
  usleep(300'000);
  kill(ranks[1], SIGCONT);
  kill(job.pid(), SIGINT);
  CHECK(job.finish() == 130);
}

TEST_CASE("ranks die with their supervisor") {
  REQUIRE(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);  // so that we can wait for them
  Job job(3, "endless");
  const std::vector<pid_t> ranks = job.ready(3);
  kill(job.pid(), SIGKILL);
  CHECK(job.finish() == 128 + SIGKILL);
  for (const pid_t rank : ranks) {
    int status = 0;
    CHECK(waitpid(rank, &status, 0) == rank);
    CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
  }
  prctl(PR_SET_CHILD_SUBREAPER, 0);
}

TEST_CASE("a program that cannot be executed is an error that says so") {
  launch::SupervisorConfig config{.world = 2};
  config.program.path = "/nonexistent/sherd";
  config.program.arguments = {"sherd"};
  const launch::RunEnd end = launch::Supervisor(config).run();
  CHECK(end.exit_code == 5);
  CHECK(end.cause.find("could not be executed") != std::string::npos);
}

}  // namespace
