#pragma once
// Owns the rank processes of a run: starts them, hears of the first failure, sees that all end.
#include <sys/types.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "sherd/comm/control_block.hpp"
#include "sherd/launch/spawn.hpp"

namespace sherd::launch {

struct SupervisorConfig {
  int world = 1;
  RankProgram program{};
  std::chrono::milliseconds grace{5000};  // from a cause until ranks that still run are killed
};

struct RankEnd {
  pid_t pid = -1;
  int status = -1;  // as waitpid reports it
};

struct RunEnd {
  int exit_code = 0;  // CLI.md: 0, the code of the first cause, 5 for a lost rank, 128 + signal
  std::string cause{};
  std::vector<RankEnd> ranks{};
};

/// **Order** SIGINT and SIGTERM, while `run` waits, become ControlBlock::stop_signal, on which the
/// ranks agree and end by themselves; a second one kills them. SIGUSR1 counts as a request to save.
/// The thread that calls `run` must live until it returns: ranks die with it.
/// **Errors** CommError when ranks cannot be started; none is left running.
class Supervisor {
 public:
  explicit Supervisor(SupervisorConfig config);
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  [[nodiscard]] comm::ControlBlock& control() { return *control_; }

  /// Starts the ranks and returns when all have ended, once.
  RunEnd run();

 private:
  class Signals;
  struct Child {
    pid_t pid = -1;
    int watch = -1;  // pidfd, where the kernel has them
    int status = -1;
    bool running = false;
  };

  void start(const Signals& signals);
  void wait_for_news(const Signals& signals);
  void heed(int signal);
  void reap();
  void judge(Rank rank);
  void enforce();
  void kill_all() noexcept;
  [[nodiscard]] bool any_running() const;
  [[nodiscard]] RunEnd verdict() const;

  SupervisorConfig config_;
  comm::ControlMapping control_;
  std::vector<Child> children_;
  std::string lost_;  // what we would have said, if the cause was left half-written
  bool killed_ = false;
  std::chrono::steady_clock::time_point deadline_ = std::chrono::steady_clock::time_point::max();
};

}  // namespace sherd::launch
