#pragma once
// Collectives that copy; used like communicator_suite.hpp.
#include "conformance/communicator_trial.hpp"

namespace conformance {

TEST_CASE("all_gather puts every rank's shard in its place") {
  for (const int world : worlds) {
    all_pass({world}, [](Seat& seat) {
      const int n = seat.comm.world();
      const Rank self = seat.comm.rank();
      for (const DType type : {DType::f32, DType::bf16, DType::i64, DType::u8}) {
        for (const std::int64_t k : {0, 1, 255, 1025}) {
          seat.used = 0;
          const View shard = seat.take(type, k), full = seat.take(type, k * n);
          const auto gathered = [&](std::int64_t i) { return value(Rank(i / k), i % k, n, type); };
          fill(shard, [&](std::int64_t i) { return value(self, i, n, type); });
          seat.comm.all_gather(shard, full, {"gather", 1});
          expect(full, gathered, "out of place");

          const View own = full.reshaped({n, k}).rows(self, 1);
          fill(full, [](std::int64_t) { return 0.0; });
          fill(own, [&](std::int64_t i) { return value(self, i, n, type); });
          seat.comm.all_gather(own, full, {"gather in place", 2});
          expect(full, gathered, "in place");
        }
      }
    });
  }
}

TEST_CASE("broadcast copies any root's data to all") {
  for (const int world : worlds) {
    all_pass({world}, [](Seat& seat) {
      const int n = seat.comm.world();
      const View data = seat.take(DType::f32, 1000);
      for (Rank root = 0; root < n; ++root) {
        fill(data, [&](std::int64_t i) { return value(seat.comm.rank(), i, n, data.type); });
        seat.comm.broadcast(data, root, {"weights"});
        expect(
            data, [&](std::int64_t i) { return value(root, i, n, data.type); }, "root's");
        seat.comm.broadcast(data.reshaped({0, 0}), root, {"nothing"});
      }
    });
  }
}

}  // namespace conformance
