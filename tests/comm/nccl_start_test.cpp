// How ranks find NCCL and each other, and what they say when they do not.
#include <doctest/doctest.h>

#include "support/fake_nccl/nccl_ranks.hpp"

namespace {

using namespace sherd;
using namespace sherd::fake_nccl;
using Thrown = std::vector<std::string>;
using std::chrono::milliseconds;

std::string refusal(const std::string& path) {
  try {
    (void)comm::open_nccl(path);
  } catch (const CommError& error) {
    return error.what();
  }
  return {};
}
bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("a missing NCCL is an error that names the library and what to do") {
  const std::string text = refusal("libnccl-nowhere.so.2");
  CHECK(text.rfind("NCCL: cannot load libnccl-nowhere.so.2 (", 0) == 0);
  CHECK(has(text, "install NCCL 2.18 or later where the loader finds it"));
}

TEST_CASE("a library that is no NCCL is refused by the function it lacks") {
  CHECK(has(refusal("libc.so.6"), "NCCL: libc.so.6 has no ncclGetVersion"));
}

TEST_CASE("an NCCL that is too old is refused with its version") {
  fake_nccl_reset();
  fake_nccl_version(21705);
  CHECK(has(refusal(SHERD_FAKE_NCCL), "is version 2.17.5, need 2.18 or later"));
  fake_nccl_version(21800);
  CHECK(refusal(SHERD_FAKE_NCCL) == "");
  fake_nccl_reset();
}

TEST_CASE("a silent rank 0 is named by those who wait for the id") {
  fake_nccl_reset();
  const NcclTrial trial{.world = 3, .timeout = milliseconds(300)};
  const Thrown thrown = run(trial, {.with = [](NcclRank&) {},
                                    .before =
                                        [](Rank rank, comm::NcclSeat& seat) {
                                          while (rank == 0) {
                                            seat.control->abort.poll();
                                            std::this_thread::sleep_for(milliseconds(1));
                                          }
                                        }});
  for (const std::string& text : thrown) {
    CHECK(has(text,
              ": rank 0 did not send the NCCL id within 0.3 s: rank 0 was last seen before "
              "its first collective"));
  }
}

TEST_CASE("a rank that never comes is named by those who wait for it") {
  fake_nccl_reset();
  const NcclTrial trial{.world = 3, .timeout = milliseconds(300)};
  const Thrown thrown = run(trial, {.with = [](NcclRank&) {},
                                    .before =
                                        [](Rank rank, comm::NcclSeat& seat) {
                                          while (rank == 2) {
                                            seat.control->abort.poll();
                                            std::this_thread::sleep_for(milliseconds(1));
                                          }
                                        }});
  for (const std::string& text : thrown) {
    CHECK(has(text, ": NCCL did not connect the ranks within 0.3 s: rank 2 has not come"));
  }
  CHECK(fake_nccl_communicators() == 0);
}

TEST_CASE("a cause recorded while ranks wait for the id or each other ends the wait") {
  for (const Rank failing : {0, 1}) {
    fake_nccl_reset();
    const Thrown thrown = run({.world = 3}, {.with = [](NcclRank&) {},
                                             .before =
                                                 [&](Rank rank, comm::NcclSeat&) {
                                                   if (rank == failing) throw DataError("no data");
                                                 }});
    for (Rank rank = 0; rank < 3; ++rank) {
      const std::string own = "no data", heard = "rank " + std::to_string(failing) + ": no data";
      CHECK(thrown[static_cast<std::size_t>(rank)] == (rank == failing ? own : heard));
    }
    CHECK(fake_nccl_communicators() == 0);
  }
}

TEST_CASE("a start that NCCL refuses is told with its reason on all ranks") {
  for (const char* name : {"ncclGetUniqueId", "ncclCommInitRankConfig"}) {
    fake_nccl_reset();
    fake_nccl_fail(0, name, 1, 1);
    const Thrown thrown = run({.world = 2}, {.with = [](NcclRank&) {}});
    const std::string cause =
        std::string("rank 0: NCCL: ") + name + ": unhandled cuda error (as the script says)";
    CHECK(thrown == Thrown{cause, cause});
  }
}

TEST_CASE("a pipe that is not there is an error, not a wait") {
  fake_nccl_reset();
  const Thrown thrown = run(
      {.world = 2}, {.with = [](NcclRank&) {},
                     .before = [](Rank, comm::NcclSeat& seat) { seat.id_from = seat.id_to = -1; }});
  for (const std::string& text : thrown) CHECK(has(text, "the pipe for the NCCL id is not open"));
}

TEST_CASE("a single rank needs no pipe") {
  fake_nccl_reset();
  const Thrown thrown = run(
      {.world = 1}, {.with = [](NcclRank& rank) { rank.comm.barrier({"x"}); },
                     .before = [](Rank, comm::NcclSeat& seat) { seat.id_from = seat.id_to = -1; }});
  CHECK(thrown == Thrown{""});
}

}  // namespace
