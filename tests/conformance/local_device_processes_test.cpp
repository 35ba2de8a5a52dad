// comm::local between processes that share a device and open each other's memory on it.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <exception>
#include <memory>

#include "conformance/communicator_faults.hpp"
#include "conformance/communicator_suite.hpp"
#include "conformance/device_mirror.hpp"
#include "sherd/comm/local.hpp"
#include "support/device_under_test.hpp"

namespace conformance {
namespace {

using Text = std::array<char, 1024>;

/// What each child has to say, in memory that we share.
class Texts {
 public:
  explicit Texts(int world) : size_(static_cast<std::size_t>(world) * sizeof(Text)) {
    void* at = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) throw std::bad_alloc();
    at_ = static_cast<Text*>(at);
  }
  ~Texts() { munmap(at_, size_); }
  Texts(const Texts&) = delete;
  Texts& operator=(const Texts&) = delete;
  Text& operator[](Rank rank) { return at_[rank]; }

 private:
  std::size_t size_;
  Text* at_;
};

// Only children open the device: what a process has of a GPU does not survive a fork.
void play(const Trial& trial, Rank rank, const Body& body, comm::ControlBlock& control,
          const std::vector<int>& fds, Text& thrown) {
  try {
    const device::OpenDevice opened = test::open_device();
    const test::Room room(opened, device::Memory::device, trial.arena);
    const test::Room host(opened, device::Memory::pinned, trial.arena);
    device::Stream stream(opened);
    const Mirrored arena{host.bytes(), room.bytes(), &stream};
    try {
      DeviceMirror comm(comm::local({&control, rank, arena.device, comm::device_arenas(opened, fds),
                                     trial.timeout, &stream}),
                        arena);
      Seat seat{comm, arena.host, control};
      body(seat);
    } catch (const std::exception& error) {
      control.fail(rank, exit_code(error), error.what());
      std::strncpy(thrown.data(), error.what(), thrown.size() - 1);
    }
  } catch (const std::exception& error) {
    control.fail(rank, exit_code(error), error.what());
    std::strncpy(thrown.data(), error.what(), thrown.size() - 1);
  }
}

}  // namespace

std::vector<std::string> run_ranks(const Trial& trial, const Body& body) {
  if (const std::string why = test::why_skipped(); !why.empty()) {
    std::puts(("SKIP: " + why).c_str());
    return {};
  }
  const comm::ControlMapping control = comm::ControlBlock::create(trial.world);
  Texts texts(trial.world);
  std::vector<int> fds;
  std::vector<pid_t> children;
  for (Rank rank = 0; rank < trial.world; ++rank) fds.push_back(memfd_create("trial", MFD_CLOEXEC));
  for (Rank rank = 0; rank < trial.world; ++rank) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      play(trial, rank, body, *control, fds, texts[rank]);
      _exit(0);
    }
    children.push_back(child);
  }
  std::vector<std::string> thrown;
  for (Rank rank = 0; rank < trial.world; ++rank) {
    int status = -1;
    waitpid(children[static_cast<std::size_t>(rank)], &status, 0);
    if (status != 0) control->fail(rank, 5, "ended with status " + std::to_string(status));
    thrown.push_back(status == 0 ? texts[rank].data() : "status " + std::to_string(status));
    close(fds[static_cast<std::size_t>(rank)]);
  }
  return thrown;
}

}  // namespace conformance
