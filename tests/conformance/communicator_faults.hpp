#pragma once
// What a Communicator owes when ranks misbehave; used like communicator_suite.hpp.
#include <thread>

#include "conformance/communicator_trial.hpp"

namespace conformance {

/// What `call` throws as CommError; anything else passes through.
inline std::string comm_error(const std::function<void()>& call) {
  try {
    call();
  } catch (const CommError& error) {
    return error.what();
  }
  throw std::logic_error("no CommError");
}
inline void await_cause(const comm::ControlBlock& control) {
  while (!control.abort.is_set()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

TEST_CASE("calls that differ kill the group, and every rank hears both") {
  for (const int world : {2, 3, 5}) {
    all_pass({world}, [](Seat& seat) {
      const int n = seat.comm.world();
      const View shard = seat.take(DType::f32, 8), full = seat.take(DType::f32, 8 * n);
      seat.comm.barrier({"first"});
      const std::string cause = comm_error([&] {
        if (seat.comm.rank() == 1) {
          seat.comm.reduce_scatter({.full = full, .shard = shard}, {"reduce bucket 1"});
        } else {
          seat.comm.all_gather(shard, full, {"gather bucket 3"});
        }
      });
      for (const char* part :
           {"rank 1 issued reduce_scatter", "all_gather \"gather bucket 3\"",
            "reduce_scatter \"reduce bucket 1\"", "collective 2", "out of step"}) {
        require(has(cause, part), cause);
      }
      require(comm_error([&] { seat.comm.barrier({"later"}); }) == cause, "another cause later");
    });
  }
}

TEST_CASE("bytes, type, key, label, root and offset belong to the fingerprint") {
  using Issue = std::function<void(Seat&, bool odd)>;
  const Issue issues[] = {
      [](Seat& s, bool odd) { s.comm.broadcast(s.take(DType::f32, odd ? 5 : 4), 0, {"x"}); },
      [](Seat& s, bool odd) {
        s.comm.broadcast(s.take(odd ? DType::i32 : DType::f32, 4), 0, {"x"});
      },
      [](Seat& s, bool odd) {
        s.comm.barrier({"x", odd ? 5u : 4u});
      },
      [](Seat& s, bool odd) { s.comm.barrier({odd ? "x" : "y"}); },
      [](Seat& s, bool odd) { s.comm.broadcast(s.take(DType::f32, 4), odd, {"x"}); },
      [](Seat& s, bool odd) {
        if (odd) s.take(DType::f32, 4);
        s.comm.broadcast(s.take(DType::f32, 4), 0, {"x"});
      }};
  for (const Issue& issue : issues) {
    all_pass({3}, [&](Seat& seat) {
      const std::string cause = comm_error([&] { issue(seat, seat.comm.rank() == 2); });
      require(has(cause, "out of step") && has(cause, "rank 2"), cause);
    });
  }
}

TEST_CASE("a rank that does not come is named with its last collective") {
  for (const int world : {2, 4}) {
    all_pass({world, mib, std::chrono::seconds(1)}, [](Seat& seat) {
      seat.control.note_step(seat.comm.rank(), 12);
      seat.comm.barrier({"reduce bucket 1"});
      if (seat.comm.rank() == 1) await_cause(seat.control);
      const std::string cause = comm_error([&] { seat.comm.barrier({"gather bucket 3"}); });
      require(cause ==
                  "rank 1 did not reach barrier \"gather bucket 3\" (collective 2, step 12) "
                  "within 1 s: rank 1 was last seen after barrier \"reduce bucket 1\" "
                  "(collective 1)",
              cause);
      require(comm_error([&] { seat.comm.barrier({"later"}); }) == cause, "another cause later");
    });
  }
}

TEST_CASE("a cause recorded anywhere wakes those who wait") {
  for (const int world : {2, 3}) {
    all_pass({world}, [](Seat& seat) {  // the time-out of a minute would fail the test's own
      if (seat.comm.rank() == 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds(30));
        seat.control.fail(0, 4, "labels.npy is truncated");
      }
      const std::string cause = comm_error([&] { seat.comm.barrier({"step"}); });
      require(cause == "rank 0: labels.npy is truncated", cause);
      require(seat.control.abort.code == 4, "exit code");
    });
  }
}

TEST_CASE("only the first cause counts") {
  all_pass({2}, [](Seat& seat) {
    if (seat.comm.rank() == 1) await_cause(seat.control);
    const bool won = seat.control.fail(seat.comm.rank(), 3, "mine");
    require(won == (seat.comm.rank() == 0), "two winners");
    require(comm_error([&] { seat.comm.barrier({"x"}); }) == "rank 0: mine", "cause");
  });
}

TEST_CASE("a broken call changes nothing") {
  all_pass({2}, [](Seat& seat) {
    const View shard = seat.take(DType::f32, 4), full = seat.take(DType::f32, 8);
    std::array<float, 8> elsewhere{};
    const View outside{reinterpret_cast<std::byte*>(elsewhere.data()), {1, 4}, DType::f32};
    refuses([&] { seat.comm.all_gather(full, full, {"x"}); });
    refuses([&] { seat.comm.all_gather(outside, full, {"x"}); });
    refuses([&] {
      seat.comm.all_gather(full.reshaped({2, 4}).rows(1 - seat.comm.rank(), 1), full, {"x"});
    });
    refuses([&] { seat.comm.all_reduce(full, full, {"x"}); });
    refuses([&] { seat.comm.broadcast(full, 2, {"x"}); });
    refuses([&] {
      const View ints{full.data, {1, 8}, DType::i32}, part{shard.data, {1, 4}, DType::i32};
      seat.comm.reduce_scatter({.full = ints, .shard = part}, {"x"});
    });
    seat.comm.all_gather(shard, full, {"still alive"});
  });
}

}  // namespace conformance
