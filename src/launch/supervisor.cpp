#include "sherd/launch/supervisor.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "sherd/base/errors.hpp"

namespace sherd::launch {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int lost_rank = 5;          // exit code
constexpr milliseconds news{50};      // between looks at the abort word
constexpr milliseconds polling{5};    // where the kernel has no pidfd
constexpr milliseconds burial{5000};  // for a killed process to be gone

std::string signal_text(int number) {
  std::string text = "signal " + std::to_string(number);
  if (const char* name = sigabbrev_np(number)) text.append(" (SIG").append(name).append(")");
  return text;
}

std::vector<int> make_arenas(int world) {
  std::vector<int> fds;
  for (Rank rank = 0; rank < world; ++rank) {
    fds.push_back(memfd_create("sherd-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (fds.back() >= 0) continue;
    const std::string reason = std::strerror(errno);
    for (const int fd : fds) close(fd);
    throw CommError("supervisor: cannot make the arena of rank " + std::to_string(rank) + ": " +
                    reason);
  }
  return fds;
}

// Every descriptor of `seat` that is this process's only to pass on.
void close_all(const RankEnvironment& seat) {
  for (const int fd : seat.arena_fds) close(fd);
  for (const int fd : {seat.id_from, seat.id_to}) {
    if (fd >= 0) close(fd);
  }
}

RankEnvironment make_seat(int world, int control) {
  RankEnvironment seat{.world = world, .control_fd = control, .arena_fds = make_arenas(world)};
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
    const std::string reason = std::strerror(errno);
    close_all(seat);
    throw CommError("supervisor: cannot make a pipe: " + reason);
  }
  seat.id_from = ends[0];
  seat.id_to = ends[1];
  return seat;
}

}  // namespace

// Stop requests as readable events, and children that can be waited for; undone on destruction.
class Supervisor::Signals {
 public:
  Signals() {
    sigset_t stops;
    sigemptyset(&stops);
    sigaddset(&stops, SIGINT);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &stops, &before_);
    fd_ = signalfd(-1, &stops, SFD_CLOEXEC | SFD_NONBLOCK);
    struct sigaction plain {};
    plain.sa_handler = SIG_DFL;
    sigaction(SIGCHLD, &plain, &children_);
  }
  ~Signals() {
    sigaction(SIGCHLD, &children_, nullptr);
    if (fd_ >= 0) close(fd_);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] const sigset_t& before() const { return before_; }
  [[nodiscard]] int next() const {  // 0: none
    signalfd_siginfo info{};
    const ssize_t size = read(fd_, &info, sizeof(info));
    return size == static_cast<ssize_t>(sizeof(info)) ? static_cast<int>(info.ssi_signo) : 0;
  }

 private:
  sigset_t before_{};
  struct sigaction children_ {};
  int fd_ = -1;
};

Supervisor::Supervisor(SupervisorConfig config)
    : config_(std::move(config)), control_(comm::ControlBlock::create(config_.world)) {}

Supervisor::~Supervisor() {
  kill_all();
  const auto until = Clock::now() + burial;
  while (any_running() && Clock::now() < until) {
    for (Child& child : children_) {
      if (child.running && waitpid(child.pid, &child.status, WNOHANG) != 0) child.running = false;
    }
    poll(nullptr, 0, static_cast<int>(polling.count()));
  }
  for (const Child& child : children_) {
    if (child.watch >= 0) close(child.watch);
  }
}

RunEnd Supervisor::run() {
  expects(children_.empty(), "Supervisor::run: got a second call, need a new supervisor");
  const Signals signals;
  start(signals);
  while (any_running() && !(killed_ && Clock::now() > deadline_ + burial)) {
    wait_for_news(signals);
    while (const int signal = signals.next()) heed(signal);
    reap();
    enforce();
  }
  return verdict();
}

void Supervisor::start(const Signals& signals) {
  RankEnvironment seat = make_seat(config_.world, control_.fd());
  try {
    for (seat.rank = 0; seat.rank < seat.world; ++seat.rank) {
      const pid_t pid = spawn(config_.program, seat, signals.before());
      children_.push_back({.pid = pid, .running = true});
      children_.back().watch = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
    }
  } catch (...) {
    kill_all();
    close_all(seat);
    throw;
  }
  close_all(seat);  // memory and pipe go with the last rank
}

void Supervisor::wait_for_news(const Signals& signals) {
  std::vector<pollfd> events{{signals.fd(), POLLIN, 0}};
  milliseconds slice = news;
  for (const Child& child : children_) {
    if (!child.running) continue;
    if (child.watch < 0) slice = polling;
    events.push_back({child.watch, POLLIN, 0});
  }
  poll(events.data(), events.size(), static_cast<int>(slice.count()));
}

void Supervisor::heed(int signal) {
  if (signal == SIGUSR1) {
    control_->save_requests.fetch_add(1);
    return;
  }
  std::uint32_t none = 0;
  if (control_->stop_signal.compare_exchange_strong(none, static_cast<std::uint32_t>(signal))) {
    return;
  }
  kill_all();
}

void Supervisor::reap() {
  for (Rank rank = 0; rank < static_cast<Rank>(children_.size()); ++rank) {
    Child& child = children_[static_cast<std::size_t>(rank)];
    if (!child.running || waitpid(child.pid, &child.status, WNOHANG) == 0) continue;
    child.running = false;
    judge(rank);
  }
}

void Supervisor::judge(Rank rank) {
  const Child& child = children_[static_cast<std::size_t>(rank)];
  const int status = child.status;
  if (killed_ || status == 0) return;
  const auto stop = static_cast<int>(control_->stop_signal.load());
  if (stop != 0 && WIFEXITED(status) && WEXITSTATUS(status) == 128 + stop) return;
  std::string text = "rank " + std::to_string(rank);
  text.append(" (pid ").append(std::to_string(child.pid)).append(") ");
  int code = lost_rank;
  if (WIFSIGNALED(status)) {
    text += "was killed by " + signal_text(WTERMSIG(status));
  } else {
    const int own = WEXITSTATUS(status);
    text += "exited with code " + std::to_string(own);
    if (own == 127) text += " (the program could not be executed)";
    if (own >= 1 && own <= 6) code = own;
  }
  const std::int64_t step = control_->ranks[static_cast<std::size_t>(rank)].step.load();
  if (step > 0) text += " during step " + std::to_string(step) + ",";
  text.append(" ").append(control_->whereabouts(rank));
  if (lost_.empty()) lost_ = text;
  control_->fail(code, text);
}

void Supervisor::enforce() {
  if (control_->abort.state.load() == 0) return;
  if (deadline_ == Clock::time_point::max()) deadline_ = Clock::now() + config_.grace;
  if (!killed_ && Clock::now() >= deadline_) kill_all();
}

void Supervisor::kill_all() noexcept {
  for (const Child& child : children_) {
    if (child.running) kill(child.pid, SIGKILL);
  }
  if (!killed_) deadline_ = Clock::now();
  killed_ = true;
}

bool Supervisor::any_running() const {
  return std::any_of(children_.begin(), children_.end(),
                     [](const Child& child) { return child.running; });
}

RunEnd Supervisor::verdict() const {
  RunEnd end;
  for (const Child& child : children_) end.ranks.push_back({child.pid, child.status});
  const auto stop = static_cast<int>(control_->stop_signal.load());
  if (control_->abort.state.load() != 0) {
    end.cause = control_->cause(lost_.empty() ? "a rank died while it told why" : lost_);
    const int code = control_->abort.is_set() ? control_->abort.code : lost_rank;
    end.exit_code = code >= 1 && code <= 255 ? code : lost_rank;
  } else if (stop != 0 &&
             (killed_ || std::any_of(children_.begin(), children_.end(),
                                     [](const Child& child) { return child.status != 0; }))) {
    end.cause = "stopped by " + signal_text(stop) + (killed_ ? ", then killed by another" : "");
    end.exit_code = 128 + stop;
  }
  return end;
}

}  // namespace sherd::launch
