#pragma once
// Collectives that sum; used like communicator_suite.hpp.
#include "conformance/communicator_trial.hpp"

namespace conformance {

TEST_CASE("reduce_scatter sums every rank's contribution to a shard") {
  for (const int world : worlds) {
    all_pass({world}, [](Seat& seat) {
      const int n = seat.comm.world();
      const Rank self = seat.comm.rank();
      for (const DType type : {DType::f32, DType::bf16, DType::i64}) {
        for (const std::int64_t k : {0, 1, 255, 1025}) {
          seat.used = 0;
          const View full = seat.take(type, k * n), shard = seat.take(type, k);
          const auto mine = [&](std::int64_t i) { return value(self, i, n, type); };
          const auto sum = [&](std::int64_t i) { return total(self * k + i, n, type); };
          const auto check = [&](View result, const std::string& what) {
            const bool exact = type != DType::bf16 || seat.able.one_rounding;
            exact ? expect(result, sum, what) : expect_near(result, sum, n / 256.0, what);
          };
          fill(full, mine);
          seat.comm.reduce_scatter({.full = full, .shard = shard}, {"reduce"});
          check(shard, "set");
          expect(full, mine, "the input");
          if (type != DType::bf16) {
            seat.comm.reduce_scatter({.full = full, .shard = shard, .mode = Write::add},
                                     {"reduce more"});
            expect(
                shard, [&](std::int64_t i) { return 2 * sum(i); }, "add");
          }
          const View own = full.reshaped({n, k}).rows(self, 1);
          fill(full, mine);  // an addition may consume it
          seat.comm.reduce_scatter({.full = full, .shard = own}, {"reduce in place"});
          check(own, "in place");
        }
      }
    });
  }
}

TEST_CASE("reduce_scatter in left order adds one rank after the other") {
  for (const int world : worlds) {
    all_pass({world}, [](Seat& seat) {
      const int n = seat.comm.world();
      const View full = seat.take(DType::f32, 3 * n), shard = seat.take(DType::f32, 3);
      const auto big = [](std::int64_t) { return 0x1p24; };  // one more is lost to rounding
      fill(full, [](std::int64_t) { return 1.0; });
      fill(shard, big);
      const auto left = [&] {
        seat.comm.reduce_scatter({full, shard, Write::add, kernels::FoldOrder::left}, {"left"});
      };
      if (seat.able.left_order) {
        left();
      } else {
        refuses(left);
      }
      expect(shard, big, "left");
      seat.comm.reduce_scatter({full, shard, Write::add, kernels::FoldOrder::fast}, {"fast"});
      expect(
          shard, [&](std::int64_t) { return static_cast<double>(static_cast<float>(0x1p24 + n)); },
          "fast");
    });
  }
}

TEST_CASE("reduce_scatter rounds with the random bits that start where the caller says") {
  for (const int world : {1, 2, 3}) {
    all_pass({world, 8 * mib}, [](Seat& seat) {
      const int n = seat.comm.world();
      const std::int64_t k = 600'000;  // more than one window
      const Philox round = philox(7, Purpose::gradient_rounding, {3});
      const View full = seat.take(DType::bf16, k * n), shard = seat.take(DType::bf16, k);
      const auto term = [&](Rank r, std::int64_t i) { return 1.0 + double((i + r) % 128) / 128; };
      fill(full, [&](std::int64_t i) { return term(seat.comm.rank(), i); });
      const std::int64_t first = seat.comm.rank() * k;
      const auto rounded = [&] {
        seat.comm.reduce_scatter(
            {.full = full, .shard = shard, .round = &round, .first = std::uint64_t(first)},
            {"rounded"});
      };
      if (!seat.able.random_rounding) return refuses(rounded);
      rounded();

      std::vector<bfloat16> each(static_cast<std::size_t>(k)), want(each.size());
      std::vector<std::vector<bfloat16>> all;
      std::vector<const std::byte*> sources;
      for (Rank r = 0; r < n; ++r) {
        for (std::int64_t i = 0; i < k; ++i) {
          each[static_cast<std::size_t>(i)] = to_bfloat16(float(term(r, first + i)));
        }
        all.push_back(each);
      }
      for (const auto& one : all) sources.push_back(reinterpret_cast<const std::byte*>(one.data()));
      const View out{reinterpret_cast<std::byte*>(want.data()), {1, k}, DType::bf16};
      device::Stream stream(1);
      kernels::fold(
          {.sources = sources, .out = out, .round = &round, .first = std::uint64_t(first)}, stream);
      expect(
          shard, [&](std::int64_t i) { return at(out, i); }, "rounded");
    });
  }
}

TEST_CASE("all_reduce gives every rank the same sum") {
  for (const int world : worlds) {
    all_pass({world}, [](Seat& seat) {
      const int n = seat.comm.world();
      for (const DType type : {DType::f32, DType::i64}) {
        for (const std::int64_t size : {0, 1, 8, 420, 1025}) {  // 420 = 3·4·5·7
          seat.used = 0;
          const View in = seat.take(type, size), out = seat.take(type, size);
          const auto mine = [&](std::int64_t i) { return value(seat.comm.rank(), i, n, type); };
          fill(in, mine);
          seat.comm.all_reduce(in, out, {"sum"});
          expect(
              out, [&](std::int64_t i) { return total(i, n, type); }, "sum");
          expect(in, mine, "the input");
        }
      }
    });
  }
}

}  // namespace conformance
