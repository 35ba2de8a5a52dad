// Ranks as threads, with communicators that misbehave on purpose.
#include "support/faulty_comm.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "sherd/base/errors.hpp"
#include "sherd/comm/local.hpp"

namespace {

using namespace sherd;
using Comm = std::unique_ptr<comm::Communicator>;
using Wrap = std::function<Comm(Comm, comm::ControlBlock&)>;

// Ten all-gathers on three ranks, rank 1's communicator wrapped; what each rank threw.
std::vector<std::string> gather_with(const Wrap& wrap,
                                     std::chrono::nanoseconds timeout = std::chrono::seconds(60)) {
  constexpr int world = 3;
  const comm::ControlMapping control = comm::ControlBlock::create(world);
  const auto peers = comm::thread_arenas(world);
  std::vector<std::vector<std::int64_t>> arenas(world, std::vector<std::int64_t>(world + 1));
  std::vector<std::string> thrown(world);
  const auto play = [&](Rank rank) {
    std::vector<std::int64_t>& memory = arenas[static_cast<std::size_t>(rank)];
    const auto bytes = std::as_writable_bytes(std::span(memory));
    const View full{bytes.data(), {1, world}, DType::i64};
    const View shard{bytes.data() + world * 8, {1, 1}, DType::i64};
    try {
      Comm comm = comm::local({&*control, rank, bytes, peers, timeout});
      if (rank == 1) comm = wrap(std::move(comm), *control);
      for (int round = 1; round <= 10; ++round) {
        memory[world] = rank + round;
        comm->all_gather(shard, full, {"gather"});
        for (Rank peer = 0; peer < world; ++peer) {
          if (memory[static_cast<std::size_t>(peer)] != peer + round) throw Error("wrong");
        }
      }
      if (comm->traffic()[0] != 10 * 2 * 8) throw Error("wrong traffic");
    } catch (const std::exception& error) {
      control->fail(rank, exit_code(error), error.what());
      thrown[static_cast<std::size_t>(rank)] = error.what();
    }
  };
  std::vector<std::thread> ranks;
  for (Rank rank = 0; rank < world; ++rank) ranks.emplace_back(play, rank);
  for (std::thread& rank : ranks) rank.join();
  return thrown;
}

TEST_CASE("a late rank changes no result") {
  const auto thrown = gather_with([](Comm comm, comm::ControlBlock&) {
    return support::delayed_comm(std::move(comm), std::chrono::milliseconds(5));
  });
  CHECK(thrown == std::vector<std::string>{"", "", ""});
}

TEST_CASE("a rank that throws between collectives is what its peers report") {
  const auto thrown = gather_with(
      [](Comm comm, comm::ControlBlock&) { return support::throwing_peer(std::move(comm), 4); });
  CHECK(thrown == std::vector<std::string>{"rank 1: died on purpose", "died on purpose",
                                           "rank 1: died on purpose"});
}

TEST_CASE("a rank that hangs is named by its peers and hears of it") {
  const auto thrown = gather_with(
      [](Comm comm, comm::ControlBlock& control) {
        return support::hanging_peer(std::move(comm), 4, control);
      },
      std::chrono::seconds(1));
  for (const std::string& text : thrown) {
    CHECK(text ==
          "rank 1 did not reach all_gather \"gather\" (collective 4) within 1 s: rank 1 was last "
          "seen after all_gather \"gather\" (collective 3)");
  }
}

}  // namespace
