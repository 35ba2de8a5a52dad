// comm::local between processes that map each other's arenas.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <exception>
#include <memory>

#include "conformance/communicator_faults.hpp"
#include "conformance/communicator_suite.hpp"
#include "sherd/comm/local.hpp"
#include "sherd/memory/arena.hpp"

namespace conformance {
namespace {

struct Outcome {
  std::array<char, 1024> thrown;
};

class Outcomes {  // written by the children, read by us
 public:
  explicit Outcomes(int world) : size_(static_cast<std::size_t>(world) * sizeof(Outcome)) {
    at_ = static_cast<Outcome*>(
        mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    if (at_ == MAP_FAILED) throw std::bad_alloc();
  }
  ~Outcomes() { munmap(at_, size_); }
  Outcomes(const Outcomes&) = delete;
  Outcomes& operator=(const Outcomes&) = delete;
  Outcome& operator[](Rank rank) { return at_[rank]; }

 private:
  std::size_t size_;
  Outcome* at_;
};

void play(const Trial& trial, Rank rank, const Body& body, comm::ControlBlock& control,
          const std::vector<int>& fds, Outcome& outcome) {
  try {
    const memory::Arena arena =
        memory::Arena::shared(fds[static_cast<std::size_t>(rank)], trial.arena);
    const auto comm =
        comm::local({&control, rank, arena.bytes(), comm::mapped_arenas(fds), trial.timeout});
    Seat seat{*comm, arena.bytes(), control};
    body(seat);
  } catch (const std::exception& error) {
    control.fail(rank, exit_code(error), error.what());
    std::strncpy(outcome.thrown.data(), error.what(), outcome.thrown.size() - 1);
  }
}

}  // namespace

std::vector<std::string> run_ranks(const Trial& trial, const Body& body) {
  const comm::ControlMapping control = comm::ControlBlock::create(trial.world);
  Outcomes outcomes(trial.world);
  std::vector<int> fds;
  std::vector<pid_t> children;
  for (Rank rank = 0; rank < trial.world; ++rank) {
    fds.push_back(memfd_create("trial", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  }
  for (Rank rank = 0; rank < trial.world; ++rank) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      play(trial, rank, body, *control, fds, outcomes[rank]);
      _exit(0);
    }
    children.push_back(child);
  }
  std::vector<std::string> thrown;
  for (Rank rank = 0; rank < trial.world; ++rank) {
    int status = -1;
    waitpid(children[static_cast<std::size_t>(rank)], &status, 0);
    if (status != 0) control->fail(rank, 5, "ended with status " + std::to_string(status));
    thrown.push_back(status == 0 ? outcomes[rank].thrown.data()
                                 : "status " + std::to_string(status));
    close(fds[static_cast<std::size_t>(rank)]);
  }
  return thrown;
}

TEST_CASE("reading peers keeps their arenas out of this process's resident memory") {
  const auto resident = [] {
    std::FILE* file = std::fopen("/proc/self/statm", "r");
    require(file != nullptr, "no /proc");
    unsigned long total = 0, pages = 0;
    const int found = std::fscanf(file, "%lu %lu", &total, &pages);
    std::fclose(file);
    require(found == 2, "statm");
    return pages * 4 * kib;
  };
  all_pass({4, 32 * mib}, [&](Seat& seat) {
    const std::int64_t k = 3 * std::int64_t{mib} / 4;  // 3 MiB of fp32
    const View full = seat.take(DType::f32, 4 * k), shard = seat.take(DType::f32, k);
    seat.comm.reduce_scatter({.full = full, .shard = shard}, {"warm"});
    const Bytes before = resident();
    for (int round = 0; round < 3; ++round) {
      seat.comm.reduce_scatter({.full = full, .shard = shard}, {"reduce"});
      seat.comm.all_gather(shard, full, {"gather"});
    }
    require(resident() < before + 2 * mib, "resident memory grew");
  });
}

}  // namespace conformance
