// comm::local between threads that share a device, each with an arena and a queue of its own.
#include <exception>
#include <thread>

#include "conformance/communicator_faults.hpp"
#include "conformance/communicator_suite.hpp"
#include "conformance/device_mirror.hpp"
#include "sherd/comm/local.hpp"
#include "support/device_under_test.hpp"

namespace conformance {

std::vector<std::string> run_ranks(const Trial& trial, const Body& body) {
  if (const std::string why = test::why_skipped(); !why.empty()) {
    std::puts(("SKIP: " + why).c_str());
    return {};
  }
  const comm::ControlMapping control = comm::ControlBlock::create(trial.world);
  const auto peers = comm::thread_arenas(trial.world);
  std::vector<std::string> thrown(static_cast<std::size_t>(trial.world));
  const device::OpenDevice opened = test::open_device();
  std::vector<test::Room> rooms, hosts;
  for (Rank rank = 0; rank < trial.world; ++rank) {
    rooms.emplace_back(opened, device::Memory::device, trial.arena);
    hosts.emplace_back(opened, device::Memory::pinned, trial.arena);
  }
  const auto play = [&](Rank rank) {
    const auto at = static_cast<std::size_t>(rank);
    try {
      device::Stream stream(opened);
      const Mirrored arena{hosts[at].bytes(), rooms[at].bytes(), &stream};
      DeviceMirror comm(comm::local({&*control, rank, arena.device, peers, trial.timeout, &stream}),
                        arena);
      Seat seat{comm, arena.host, *control};
      body(seat);
    } catch (const std::exception& error) {
      control->fail(rank, exit_code(error), error.what());
      thrown[at] = error.what();
    }
  };
  std::vector<std::thread> ranks;
  for (Rank rank = 0; rank < trial.world; ++rank) ranks.emplace_back(play, rank);
  for (std::thread& rank : ranks) rank.join();
  return thrown;
}

}  // namespace conformance
