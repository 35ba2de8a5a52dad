// A run in miniature: supervisor and rank in one program, as the command line is.
// rank_program WORLD SCENARIO TIMEOUT_MS GRACE_MS
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>

#include "sherd/base/errors.hpp"
#include "sherd/comm/local.hpp"
#include "sherd/launch/supervisor.hpp"
#include "sherd/memory/arena.hpp"

extern char** environ;

namespace {

using namespace sherd;

// Does something in the middle of a collective: when this rank first looks at a peer.
class Ambush final : public comm::PeerArenas {
 public:
  Ambush(std::shared_ptr<comm::PeerArenas> inner, std::function<void()> act)
      : inner_(std::move(inner)), act_(std::move(act)) {}
  void publish(Rank rank, std::span<std::byte> arena) override { inner_->publish(rank, arena); }
  const std::byte* window(Rank rank, Bytes offset, Bytes size) override {
    act_();
    return inner_->window(rank, offset, size);
  }
  void drop(const std::byte* window, Bytes size) noexcept override { inner_->drop(window, size); }
  void read(Rank rank, Bytes offset, std::span<std::byte> to) override {
    act_();
    inner_->read(rank, offset, to);
  }

 private:
  std::shared_ptr<comm::PeerArenas> inner_;
  std::function<void()> act_;
};

struct Settings {
  std::string scenario;
  std::chrono::milliseconds timeout;
};

[[noreturn]] void sleep_for_ever() {
  for (;;) pause();
}

// What goes wrong between the collectives of a step.
void misbehave(const std::string& scenario, Rank rank, int step, comm::ControlBlock& control) {
  if (step != 3) return;
  if (scenario == "throw" && rank == 1) throw DataError("labels.npy is truncated");
  if (scenario == "diverge" && rank == 0) throw DivergedError("10 steps skipped in a row");
  if (scenario == "abort" && rank == 1) std::abort();
  if (scenario == "exit" && rank == 1) _exit(77);
  if (scenario == "deaf" && rank == 0) throw CapacityError("no memory left");
  if (scenario == "deaf") sleep_for_ever();
  if (scenario == "two" && rank == 1) throw CapacityError("the first");
  if (scenario == "two") {
    while (!control.abort.is_set()) usleep(1000);
    throw DataError("the second");
  }
}

void steps(const Settings& settings, Rank rank, comm::Communicator& comm, View data, View out,
           comm::ControlBlock& control, int& current) {
  const bool endless = settings.scenario == "endless" || settings.scenario == "stubborn";
  for (int step = 1; endless || step <= 20; ++step) {
    current = step;
    control.note_step(rank, step);
    const View vote = data.reshaped({1, data.numel()}), votes = out;
    vote.as<std::int64_t>()[0] = control.stop_signal.load();
    comm.all_reduce(vote, votes, {"vote"});
    if (votes.as<std::int64_t>()[0] != 0 && settings.scenario != "stubborn") {
      throw Interrupted(static_cast<int>(control.stop_signal.load()));
    }
    misbehave(settings.scenario, rank, step, control);
    comm.broadcast(data, 0, {"weights"});
    comm.barrier({"end of step"});
    if (step == 1) {
      std::printf("ready %d %d\n", rank, getpid());
      std::fflush(stdout);
    }
  }
}

// Rank 0 tells all others something through the pipe of the run.
void tell(const launch::RankEnvironment& seat) {
  const std::array<int, 2> sent{seat.world, 4711};
  std::array<int, 2> heard{};
  if (seat.rank == 0) {
    for (Rank peer = 1; peer < seat.world; ++peer) {
      if (write(seat.id_to, sent.data(), sizeof(sent)) != sizeof(sent)) throw CommError("no pipe");
    }
    return;
  }
  while (read(seat.id_from, heard.data(), sizeof(heard)) < 0 && errno == EAGAIN) usleep(1000);
  if (heard != sent) throw CommError("the pipe of the run is broken");
}

int play(const launch::RankEnvironment& seat, const Settings& settings) {
  const comm::ControlMapping control = comm::ControlBlock::attach(seat.control_fd);
  try {
    if (settings.scenario == "pipe") tell(seat);
    const auto own = seat.arena_fds[static_cast<std::size_t>(seat.rank)];
    const memory::Arena arena = memory::Arena::shared(own, 2 * mib);
    int current = 0;
    const auto ambush = [&] {
      if (seat.rank != 1 || current != 3) return;
      if (settings.scenario == "kill") raise(SIGKILL);
      if (settings.scenario == "freeze") raise(SIGSTOP);
    };
    const auto peers = std::make_shared<Ambush>(comm::mapped_arenas(seat.arena_fds), ambush);
    const auto comm = comm::local({&*control, seat.rank, arena.bytes(), peers, settings.timeout});
    const View data{arena.bytes().data(), {1, 7}, DType::i64};
    const View out{arena.bytes().data() + mib, {1, 7}, DType::i64};
    steps(settings, seat.rank, *comm, data, out, *control, current);
  } catch (const std::exception& error) {
    control->fail(seat.rank, exit_code(error), error.what());
    return exit_code(error);
  }
  return 0;
}

int supervise(int world, std::chrono::milliseconds grace, char** argv) {
  launch::SupervisorConfig config{.world = world, .grace = grace};
  for (char** argument = argv; *argument != nullptr; ++argument) {
    config.program.arguments.emplace_back(*argument);
  }
  for (char** variable = environ; *variable != nullptr; ++variable) {
    config.program.environment.emplace_back(*variable);
  }
  const launch::RunEnd end = launch::Supervisor(config).run();
  std::printf("exit %d\ncause %s\n", end.exit_code, end.cause.c_str());
  for (const launch::RankEnd& rank : end.ranks) std::printf("pid %d\n", rank.pid);
  return end.exit_code;
}

}  // namespace

int main(int count, char** argv) {
  if (count != 5) return 2;
  const Settings settings{argv[2], std::chrono::milliseconds(std::atoi(argv[3]))};
  if (const char* text = std::getenv(launch::rank_variable)) {
    const auto seat = launch::parse_rank(text);
    return seat ? play(*seat, settings) : 1;
  }
  return supervise(std::atoi(argv[1]), std::chrono::milliseconds(std::atoi(argv[4])), argv);
}
