#pragma once
// Another program, run to its end or watched while it runs.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace sherd::test {

struct Outcome {
  int code = -1;      // of exit; -1 when a signal ended it
  int signal = 0;     // that ended it
  bool late = false;  // killed here, because it ran too long
  std::string out, err;
};

/// Polls until `done()`; false after a minute, which no healthy program needs.
template <class Done>
[[nodiscard]] bool wait_until(Done&& done,
                              std::chrono::seconds longest = std::chrono::seconds(60)) {
  const auto end = std::chrono::steady_clock::now() + longest;
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

struct Place {
  std::string folder{};                    // to start in; empty: this process's
  std::vector<std::string> environment{};  // "NAME=value" over what is inherited; "NAME" removes
  int out = -1;                            // descriptor for stdout; -1: captured, -2: closed
  bool input = true;                       // false: no stdin at all
};

/// **Memory** output is captured in memory files, so a program may write more than a pipe holds.
class Process {
 public:
  explicit Process(std::vector<std::string> command, const Place& place = {})
      : out_(memfd_create("out", MFD_CLOEXEC)), err_(memfd_create("err", MFD_CLOEXEC)) {
    std::vector<char*> words;
    for (std::string& word : command) words.push_back(word.data());
    words.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) become(words, place);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() {
    if (running()) {
      kill(pid_, SIGKILL);
      waitpid(pid_, &status_, 0);
    }
    close(out_);
    close(err_);
  }

  [[nodiscard]] pid_t pid() const { return pid_; }
  void send(int signal) const { kill(pid_, signal); }
  [[nodiscard]] bool running() {
    if (!ended_ && waitpid(pid_, &status_, WNOHANG) != 0) ended_ = true;
    return !ended_;
  }

  Outcome wait(std::chrono::seconds longest = std::chrono::seconds(100)) {
    const bool late = !wait_until([this] { return !running(); }, longest);
    if (late) {
      kill(pid_, SIGKILL);
      waitpid(pid_, &status_, 0);
      ended_ = true;
    }
    Outcome outcome{.late = late, .out = text(out_), .err = text(err_)};
    if (WIFEXITED(status_)) outcome.code = WEXITSTATUS(status_);
    if (WIFSIGNALED(status_)) outcome.signal = WTERMSIG(status_);
    return outcome;
  }

 private:
  [[noreturn]] void become(const std::vector<char*>& words, const Place& place) const {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!place.folder.empty() && chdir(place.folder.c_str()) != 0) _exit(126);
    for (const std::string& variable : place.environment) {
      const std::size_t equal = variable.find('=');
      if (equal == std::string::npos)
        unsetenv(variable.c_str());
      else
        setenv(variable.substr(0, equal).c_str(), variable.substr(equal + 1).c_str(), 1);
    }
    dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
    dup2(place.out >= 0 ? place.out : out_, 1);
    dup2(err_, 2);
    if (place.out == -2) close(1);
    if (!place.input) close(0);
    execv(words.front(), words.data());
    _exit(127);
  }

  static std::string text(int fd) {
    std::string all;
    char block[4096];
    for (off_t at = 0;;) {
      const ssize_t size = pread(fd, block, sizeof block, at);
      if (size <= 0) return all;
      all.append(block, static_cast<std::size_t>(size));
      at += size;
    }
  }

  pid_t pid_ = -1;
  int out_, err_, status_ = 0;
  bool ended_ = false;
};

inline Outcome run(std::vector<std::string> command, const Place& place = {}) {
  return Process(std::move(command), place).wait();
}

/// State letter and parent of a process, from /proc; '-' when there is none.
struct ProcessState {
  char state = '-';
  pid_t parent = 0;
};
[[nodiscard]] inline ProcessState state_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  if (!std::getline(file, line)) return {};
  const std::size_t end = line.rfind(')');  // of the name, which may hold anything
  ProcessState found;
  found.state = line.at(end + 2);
  found.parent = std::stoi(line.substr(end + 4));
  return found;
}
/// Nothing of it runs any more, whether or not somebody has asked for its status.
[[nodiscard]] inline bool is_gone(pid_t pid) {
  const char state = state_of(pid).state;
  return state == '-' || state == 'Z' || state == 'X';
}

}  // namespace sherd::test
