// What becomes of a run when NCCL fails, hangs or disagrees: a fake libnccl does so on purpose.
#include "comm/nccl.hpp"

#include <doctest/doctest.h>

#include "support/fake_nccl/nccl_ranks.hpp"

namespace {

using namespace sherd;
using namespace sherd::fake_nccl;
using Thrown = std::vector<std::string>;
using std::chrono::milliseconds;

constexpr int system_error = 2, internal_error = 3, remote_error = 6;  // ncclResult_t

// The body on every rank, from a clean slate; afterwards nothing of NCCL may be left.
Thrown attempt(const NcclTrial& trial, const std::function<void()>& script,
               const std::function<void(NcclRank&)>& with) {
  fake_nccl_reset();
  script();
  const Thrown thrown = run(trial, {.with = with});
  CHECK(fake_nccl_communicators() == 0);
  return thrown;
}

void gather(NcclRank& rank, const char* label = "gather bucket 3") {
  rank.comm.all_gather(rank.view(0, 8), rank.view(4096, 8 * rank.comm.world()), {label});
}
// The wait of an engine.
void settle(NcclRank& rank) {
  while (!rank.idle()) {
    rank.comm.watch();
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
}
std::string comm_error(const std::function<void()>& call) {
  try {
    call();
  } catch (const CommError& error) {
    return error.what();
  }
  throw std::logic_error("no CommError");
}

TEST_CASE("a failed collective on one rank is the cause on all") {
  for (const Place place : {Place::host, Place::device}) {
    const Thrown thrown = attempt(
        {.world = 3, .place = place}, [] { fake_nccl_fail(1, "ncclAllGather", 2, internal_error); },
        [](NcclRank& rank) {
          rank.control.note_step(rank.comm.rank(), 12);
          gather(rank, "first");
          settle(rank);
          gather(rank);
          settle(rank);
        });
    for (const std::string& text : thrown) {
      CHECK(text ==
            "rank 1: NCCL: ncclAllGather: internal error (as the script says), in all_gather "
            "\"gather bucket 3\" (collective 2, step 12)");
    }
  }
}

TEST_CASE("every later call repeats the first cause") {
  const Thrown thrown = attempt(
      {.world = 2}, [] { fake_nccl_fail(any, "ncclAllReduce", 1, system_error); },
      [](NcclRank& rank) {
        const View in = rank.view(0, 8), out = rank.view(4096, 8);
        const std::string cause = comm_error([&] { rank.comm.all_reduce(in, out, {"loss"}); });
        const std::function<void()> later[] = {
            [&] { rank.comm.all_reduce(in, out, {"later"}); }, [&] { gather(rank); },
            [&] { rank.comm.barrier({"later"}); }, [&] { rank.comm.watch(); },
            [&] { (void)rank.comm.split(0); }};
        for (const auto& call : later) {
          if (comm_error(call) != cause) throw std::logic_error("another cause");
        }
        throw CommError(cause);
      });
  CHECK(thrown[0].find("NCCL: ncclAllReduce: unhandled system error") != std::string::npos);
  CHECK(thrown[0].find("in all_reduce \"loss\" (collective 1)") != std::string::npos);
  CHECK(thrown[1] == thrown[0]);
}

TEST_CASE("an error NCCL finds after the call is found by whoever waits") {
  const Thrown thrown = attempt(
      {.world = 3, .place = Place::device},
      [] {
        fake_nccl_hold_streams(true);
        fake_nccl_async_error(2, 1, internal_error);
      },
      [](NcclRank& rank) {
        gather(rank);
        settle(rank);
      });
  for (const std::string& text : thrown) {
    CHECK(text.rfind("rank 2: NCCL: ", 0) == 0);
    CHECK(text.find("internal error") != std::string::npos);
    CHECK(text.find("in all_gather \"gather bucket 3\" (collective 1)") != std::string::npos);
  }
}

TEST_CASE("a collective that hangs ends the run at its deadline and is named") {
  for (const Place place : {Place::host, Place::device}) {
    const Thrown thrown = attempt(
        {.world = 2, .place = place, .timeout = milliseconds(300)},
        [] { fake_nccl_hang("ncclAllGather", 1); },
        [](NcclRank& rank) {
          rank.control.note_step(rank.comm.rank(), 7);
          gather(rank);
          settle(rank);
        });
    CHECK(thrown[0].find(": all_gather \"gather bucket 3\" (collective 1, step 7) did not complete "
                         "within 0.3 s, though every rank issued it") != std::string::npos);
    CHECK(thrown[0].rfind("rank ", 0) == 0);
    CHECK(thrown[1] == thrown[0]);
    CHECK(fake_nccl_cuts() == 2);
  }
}

TEST_CASE("on a device the oldest collective that is late is the one named") {
  const Thrown thrown = attempt(
      {.world = 2, .place = Place::device, .timeout = milliseconds(300)},
      [] { fake_nccl_hang("ncclAllGather", 2); },
      [](NcclRank& rank) {
        for (const char* label : {"one", "two", "three"}) gather(rank, label);
        settle(rank);
      });
  CHECK(thrown[0].find("all_gather \"two\" (collective 2) did not complete") != std::string::npos);
  CHECK(thrown[1] == thrown[0]);
}

TEST_CASE("a collective has its time from when the stream comes to it") {
  const Thrown thrown = attempt(
      {.world = 2, .place = Place::device, .timeout = milliseconds(200)},
      [] { fake_nccl_hold_streams(true); },
      [](NcclRank& rank) {
        const auto other = rank.comm.split(0);
        other->all_gather(rank.view(0, 8), rank.view(4096, 16), {"ahead of it"});
        gather(rank);
        const auto until = std::chrono::steady_clock::now() + milliseconds(500);
        while (std::chrono::steady_clock::now() < until) rank.comm.watch();
        rank.comm.barrier({"both have waited"});
        if (rank.comm.rank() == 0) fake_nccl_hold_streams(false);
        settle(rank);
        other->watch();
      });
  CHECK(thrown == Thrown{"", ""});
}

TEST_CASE("a rank that waits when the run ends cuts NCCL off before it gives up") {
  int cuts = 0;
  const Thrown thrown = attempt(
      {.world = 1, .place = Place::device}, [] { fake_nccl_hold_streams(true); },
      [&](NcclRank& rank) {
        gather(rank);
        rank.control.fail(5, "the disk is full");
        try {
          device::block(rank.stream, rank.control.abort, [&] { rank.comm.watch(); });
        } catch (const CommError&) {
          cuts = fake_nccl_cuts();
          throw;
        }
      });
  CHECK(thrown == Thrown{"the disk is full"});
  CHECK(cuts == 1);
}

TEST_CASE("a rank that never issues a collective is named by those who did") {
  for (const Place place : {Place::host, Place::device}) {
    const Thrown thrown = attempt(
        {.world = 3, .place = place, .timeout = milliseconds(300)}, [] {},
        [](NcclRank& rank) {
          rank.comm.barrier({"start"});
          while (rank.comm.rank() == 2) {
            rank.control.abort.poll();
            std::this_thread::sleep_for(milliseconds(1));
          }
          gather(rank);
          settle(rank);
        });
    for (const std::string& text : thrown) {
      CHECK(text ==
            "rank 2 did not reach all_gather \"gather bucket 3\" (collective 2) within 0.3 s: rank "
            "2 was last seen after barrier \"start\" (collective 1)");
    }
  }
}

TEST_CASE("a cause recorded by somebody else ends calls and waits") {
  for (const Place place : {Place::host, Place::device}) {
    const Thrown thrown = attempt(
        {.world = 2, .place = place}, [] { fake_nccl_hang("ncclAllGather", 1); },
        [](NcclRank& rank) {
          if (rank.comm.rank() == 0) throw DataError("labels.npy is truncated");
          gather(rank);
          settle(rank);
        });
    CHECK(thrown == Thrown{"labels.npy is truncated", "rank 0: labels.npy is truncated"});
    CHECK(fake_nccl_cuts() == 2);
  }
}

TEST_CASE("what NCCL sees of a lost peer gives way to the peer's own words") {
  const Thrown thrown = attempt(
      {.world = 2}, [] { fake_nccl_fail(1, "ncclAllGather", 1, remote_error); },
      [](NcclRank& rank) {
        if (rank.comm.rank() == 1) gather(rank);
        std::this_thread::sleep_for(milliseconds(20));  // it only has to be within the patience
        throw DataError("labels.npy is truncated");
      });
  CHECK(thrown == Thrown{"labels.npy is truncated", "rank 0: labels.npy is truncated"});
}

TEST_CASE("collectives of different ranks that differ are out of step on a device as well") {
  const Thrown thrown = attempt(
      {.world = 2, .place = Place::device}, [] {},
      [](NcclRank& rank) {
        if (rank.comm.rank() == 0) {
          gather(rank);
        } else {
          rank.comm.broadcast(rank.view(0, 8), 0, {"weights"});
        }
        settle(rank);
      });
  for (const char* part : {"all_gather \"gather bucket 3\"", "broadcast \"weights\"",
                           "at collective 1: the ranks are out of step"}) {
    CHECK(thrown[0].find(part) != std::string::npos);
  }
  CHECK(thrown[1] == thrown[0]);
}

TEST_CASE("calls on a device return before they are complete and complete in order") {
  const Thrown thrown = attempt(
      {.world = 2, .place = Place::device}, [] { fake_nccl_hold_streams(true); },
      [](NcclRank& rank) {
        const View data = rank.view(0, 8), sum = rank.view(1024, 8), full = rank.view(4096, 16);
        const auto* values = sum.as<float>();
        data.as<float>()[0] = 1.0F + static_cast<float>(rank.comm.rank());
        rank.comm.all_reduce(data, sum, {"sum"});
        rank.comm.all_gather(sum, full, {"gather"});
        rank.comm.watch();
        if (rank.idle() || values[0] != 0) throw std::logic_error("complete too early");
        const std::string where = rank.control.whereabouts(rank.comm.rank());
        if (where != "in all_gather \"gather\" (collective 2)") throw std::logic_error(where);
        rank.comm.barrier({"both have looked"});
        if (rank.comm.rank() == 0) fake_nccl_hold_streams(false);
        settle(rank);
        rank.comm.watch();
        const bool right = values[0] == 3 && full.as<float>()[0] == 3 && full.as<float>()[8] == 3;
        if (!right) throw std::logic_error("wrong sums");
      });
  CHECK(thrown == Thrown{"", ""});
}

TEST_CASE("a watch may come from another thread than the calls") {
  for (const bool fails : {false, true}) {
    const Thrown thrown = attempt(
        {.world = 2, .place = Place::device},
        [&] {
          if (fails) fake_nccl_async_error(1, 50, internal_error);
        },
        [](NcclRank& rank) {
          std::atomic<bool> over = false;
          std::string heard;
          std::thread watcher([&] {
            try {
              while (!over) rank.comm.watch();
            } catch (const CommError& error) {
              heard = error.what();
            }
          });
          std::string thrown_here;
          try {
            for (int round = 0; round < 100; ++round) gather(rank);
            settle(rank);
            rank.comm.barrier({"end"});
          } catch (const CommError& error) {
            thrown_here = error.what();
          }
          over = true;
          watcher.join();
          if (!thrown_here.empty()) throw CommError(thrown_here);
          if (!heard.empty()) throw CommError("only the watcher heard of " + heard);
        });
    CHECK(thrown[1] == thrown[0]);
    CHECK(thrown[0].rfind(fails ? "rank 1: NCCL: " : "", 0) == 0);
    CHECK(thrown[0].empty() == !fails);
  }
}

TEST_CASE("a split that NCCL refuses ends the run") {
  const Thrown thrown = attempt(
      {.world = 2}, [] { fake_nccl_fail(1, "ncclCommSplit", 1, internal_error); },
      [](NcclRank& rank) { (void)rank.comm.split(0); });
  CHECK(thrown[0].find("rank 1: NCCL: ncclCommSplit: internal error") == 0);
  CHECK(thrown[1] == thrown[0]);
}

TEST_CASE("memory is registered once for each group and given back") {
  const Thrown thrown = attempt(
      {.world = 2}, [] {},
      [](NcclRank& rank) {
        const auto child = rank.comm.split(0);
        rank.comm.barrier({"both are there"});
        if (fake_nccl_registrations() != 4) throw std::logic_error("not registered");
        rank.comm.barrier({"both have looked"});
        child->barrier({"child"});
      });
  CHECK(thrown == Thrown{"", ""});
  CHECK(fake_nccl_registrations() == 0);
  CHECK(fake_nccl_cuts() == 0);
}

TEST_CASE("a library that cannot register memory serves all the same") {
  const Thrown thrown = attempt(
      {.world = 3}, [] { fake_nccl_fail(any, "ncclCommRegister", 1, internal_error); },
      [](NcclRank& rank) { gather(rank); });
  CHECK(thrown == Thrown{"", "", ""});
}

TEST_CASE("a group whose end NCCL refuses is cut, and the run is not spoilt") {
  const Thrown thrown = attempt(
      {.world = 2}, [] { fake_nccl_fail(any, "ncclCommFinalize", 1, internal_error); },
      [](NcclRank& rank) { gather(rank); });
  CHECK(thrown == Thrown{"", ""});
  CHECK(fake_nccl_cuts() == 2);
}

TEST_CASE("a group that is left with work that never ends is cut at the deadline") {
  const Thrown thrown = attempt(
      {.world = 2, .place = Place::device, .timeout = milliseconds(300)},
      [] { fake_nccl_hang("ncclAllGather", 1); }, [](NcclRank& rank) { gather(rank); });
  CHECK(thrown == Thrown{"", ""});
  CHECK(fake_nccl_cuts() == 2);
}

}  // namespace
