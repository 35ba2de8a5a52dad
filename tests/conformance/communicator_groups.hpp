#pragma once
// What holds of every collective, and of groups split off; used like communicator_suite.hpp.
#include "conformance/communicator_trial.hpp"

namespace conformance {

TEST_CASE("inputs may be overwritten as soon as a collective returns") {
  for (const int world : worlds) {
    all_pass({world}, [](Seat& seat) {
      const int n = seat.comm.world();
      const Rank self = seat.comm.rank();
      const View shard = seat.take(DType::i64, 5), full = seat.take(DType::i64, 5 * n);
      const View more = seat.take(DType::i64, 5 * n), sum = seat.take(DType::i64, 5);
      for (int round = 0; round < 400; ++round) {
        fill(shard, [&](std::int64_t i) { return value(self, i + round, n, DType::i64); });
        seat.comm.all_gather(shard, full, {"gather", std::uint64_t(round)});
        fill(shard, [](std::int64_t) { return -1.0; });
        fill(more, [&](std::int64_t i) { return value(self, i + round, n, DType::i64); });
        seat.comm.reduce_scatter({.full = more, .shard = sum}, {"reduce"});
        fill(more, [](std::int64_t) { return -1.0; });
        if (round % 7 == 0) seat.comm.barrier({"pause"});
        expect(
            full, [&](std::int64_t i) { return value(Rank(i / 5), i % 5 + round, n, full.type); },
            "gathered");
        expect(
            sum, [&](std::int64_t i) { return total(self * 5 + i + round, n, sum.type); }, "sum");
      }
    });
  }
}

TEST_CASE("operands larger than a read window come out whole") {
  for (const int world : {2, 3}) {
    all_pass({world, 24 * mib}, [](Seat& seat) {
      const int n = seat.comm.world();
      const std::int64_t k = 600'011;
      const View full = seat.take(DType::f32, k * n), shard = seat.take(DType::f32, k);
      const View out = seat.take(DType::f32, k * n);
      fill(full, [&](std::int64_t i) { return value(seat.comm.rank(), i, n, full.type); });
      seat.comm.reduce_scatter({.full = full, .shard = shard}, {"reduce"});
      seat.comm.all_gather(shard, out, {"gather"});
      expect(
          out, [&](std::int64_t i) { return total(i, n, out.type); }, "sum");
      seat.comm.all_reduce(full, out, {"both"});
      expect(
          out, [&](std::int64_t i) { return total(i, n, out.type); }, "sum");
      seat.comm.broadcast(full, n - 1, {"all of it"});
      expect(
          full, [&](std::int64_t i) { return value(n - 1, i, n, full.type); }, "root's");
    });
  }
}

TEST_CASE("traffic counts the payload bytes that peers take") {
  for (const int world : worlds) {
    all_pass({world}, [](Seat& seat) {
      const Bytes n = Bytes(seat.comm.world());
      const View shard = seat.take(DType::f32, 100), full = seat.take(DType::f32, 100 * int(n));
      const View in = seat.take(DType::i64, 420), out = seat.take(DType::i64, 420);
      const View odd_in = seat.take(DType::i64, 421), odd_out = seat.take(DType::i64, 421);
      fill(seat.take(DType::u8, 1), [](std::int64_t) { return 0.0; });
      seat.comm.all_gather(shard, full, {"gather"});
      seat.comm.all_gather(shard, full, {"gather"});
      seat.comm.reduce_scatter({.full = full, .shard = shard}, {"reduce"});
      seat.comm.all_reduce(in, out, {"sum"});
      seat.comm.all_reduce(odd_in, odd_out, {"odd sum"});
      seat.comm.broadcast(in, 0, {"weights"});
      seat.comm.barrier({"end"});
      const Bytes odd = 421 % n == 0 ? 2 * (n - 1) * (421 / n) * 8 : (n - 1) * 421 * 8;
      const Bytes even = 420 % n == 0 ? 2 * (n - 1) * (420 / n) * 8 : (n - 1) * 420 * 8;
      const comm::Traffic want{2 * (n - 1) * 400, (n - 1) * 400, even + odd,
                               seat.comm.rank() == 0 ? (n - 1) * 420 * 8 : 0, 0};
      for (std::size_t verb = 0; verb < want.size(); ++verb) {
        require(seat.comm.traffic()[verb] == want[verb],
                std::to_string(verb) + " sent " + std::to_string(seat.comm.traffic()[verb]));
      }
    });
  }
}

TEST_CASE("split makes independent groups in rank order") {
  for (const int world : worlds) {
    all_pass({world}, [](Seat& seat) {
      const Rank self = seat.comm.rank();
      const auto child = seat.comm.split(self % 2);
      require(child->rank() == self / 2, "rank in the group");
      require(child->world() == (seat.comm.world() + 1 - self % 2) / 2, "size of the group");
      const View one = seat.take(DType::i64, 1), all = seat.take(DType::i64, child->world());
      for (int round = 0; round < 50 * (1 + self % 2); ++round) {  // groups run at their own pace
        put(one, 0, self + round);
        child->all_gather(one, all, {"in the group", std::uint64_t(round)});
        expect(
            all, [&](std::int64_t i) { return double(2 * i + self % 2 + round); }, "group");
      }
      const auto grandchild = child->split(0);
      grandchild->barrier({"below"});
      const View sum = seat.take(DType::i64, 1);
      seat.comm.all_reduce(one, sum, {"all again"});
    });
  }
}

TEST_CASE("split refuses on all ranks when the groups run out, and the parent lives on") {
  all_pass({2}, [](Seat& seat) {
    std::vector<std::unique_ptr<Communicator>> groups;
    std::string refusal;
    for (int group = 0; group < 1000 && refusal.empty(); ++group) {
      try {
        groups.push_back(seat.comm.split(0));
      } catch (const UsageError& error) {
        refusal = error.what();
      }
    }
    require(groups.size() >= 16 && has(refusal, "split: got"), "refusal: " + refusal);
    groups.back()->barrier({"the last group"});
    seat.comm.barrier({"the parent"});
  });
}

}  // namespace conformance
