// comm::local between threads of one process, which is what ThreadSanitizer can see.
#include <exception>
#include <thread>

#include "conformance/communicator_faults.hpp"
#include "conformance/communicator_suite.hpp"
#include "sherd/comm/local.hpp"
#include "sherd/memory/arena.hpp"

namespace conformance {

std::vector<std::string> run_ranks(const Trial& trial, const Body& body) {
  const comm::ControlMapping control = comm::ControlBlock::create(trial.world);
  const auto peers = comm::thread_arenas(trial.world);
  std::vector<std::string> thrown(static_cast<std::size_t>(trial.world));
  std::vector<memory::Arena> arenas;
  for (Rank rank = 0; rank < trial.world; ++rank) {
    arenas.push_back(memory::Arena::anonymous(trial.arena));
  }
  const auto play = [&](Rank rank) {
    const std::span<std::byte> arena = arenas[static_cast<std::size_t>(rank)].bytes();
    try {
      const auto comm = comm::local({&*control, rank, arena, peers, trial.timeout});
      Seat seat{*comm, arena, *control};
      body(seat);
    } catch (const std::exception& error) {
      control->fail(rank, exit_code(error), error.what());
      thrown[static_cast<std::size_t>(rank)] = error.what();
    }
  };
  std::vector<std::thread> ranks;
  for (Rank rank = 0; rank < trial.world; ++rank) ranks.emplace_back(play, rank);
  for (std::thread& rank : ranks) rank.join();
  return thrown;
}

}  // namespace conformance
