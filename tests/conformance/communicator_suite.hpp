#pragma once
// The contract of Communicator, for any implementation: include this once in a test that defines
// run_ranks. Bodies run on every rank and throw when they see something wrong.
#include <doctest/doctest.h>

#include <chrono>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "sherd/base/errors.hpp"
#include "sherd/comm/communicator.hpp"
#include "sherd/comm/control_block.hpp"

namespace conformance {

using namespace sherd;
using comm::Communicator;

/// One rank's view of a trial; every rank takes the same memory at the same offsets.
struct Seat {
  Communicator& comm;
  std::span<std::byte> arena;
  comm::ControlBlock& control;
  Bytes used = 0;

  View take(DType type, std::int64_t numel) {
    const View view{arena.data() + used, {1, numel}, type};
    used = round_up(used + view.bytes(), 64);
    if (used > arena.size()) throw std::logic_error("the trial's arena is too small");
    return view;
  }
};
struct Trial {
  int world = 1;
  Bytes arena = mib;
  std::chrono::nanoseconds timeout = std::chrono::seconds(60);
};
using Body = std::function<void(Seat&)>;

/// Runs `body` on every rank; what each threw, by rank, empty for nothing.
std::vector<std::string> run_ranks(const Trial& trial, const Body& body);

inline const int worlds[] = {1, 2, 3, 4, 5, 7};

inline void all_pass(const Trial& trial, const Body& body) {
  const std::vector<std::string> thrown = run_ranks(trial, body);
  for (std::size_t rank = 0; rank < thrown.size(); ++rank) {
    INFO("world " << trial.world << ", rank " << rank);
    CHECK(thrown[rank] == "");
  }
}
inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}
inline void require(bool holds, const std::string& what) {
  if (!holds) throw std::logic_error(what);
}

inline double at(View view, std::int64_t i) {
  switch (view.type) {
    case DType::f32:
      return static_cast<double>(view.as<float>()[i]);
    case DType::bf16:
      return static_cast<double>(to_float(view.as<bfloat16>()[i]));
    case DType::i64:
      return static_cast<double>(view.as<std::int64_t>()[i]);
    default:
      return static_cast<double>(std::to_integer<int>(view.data[i]));
  }
}
inline void put(View view, std::int64_t i, double value) {
  switch (view.type) {
    case DType::f32:
      view.as<float>()[i] = static_cast<float>(value);
      break;
    case DType::bf16:
      view.as<bfloat16>()[i] = to_bfloat16(static_cast<float>(value));
      break;
    case DType::i64:
      view.as<std::int64_t>()[i] = static_cast<std::int64_t>(value);
      break;
    default:
      view.data[i] = static_cast<std::byte>(value);
  }
}
using Formula = std::function<double(std::int64_t)>;
inline void fill(View view, const Formula& value) {
  for (std::int64_t i = 0; i < view.numel(); ++i) put(view, i, value(i));
}
inline void expect(View view, const Formula& value, const std::string& what) {
  for (std::int64_t i = 0; i < view.numel(); ++i) {
    if (at(view, i) == value(i)) continue;  // the message costs more than the comparison
    throw std::logic_error(what + ": element " + std::to_string(i) + " is " +
                           std::to_string(at(view, i)) + ", not " + std::to_string(value(i)));
  }
}

/// Element i of rank r: all different over ranks and elements; small enough that sums are exact.
/// 16-bit and 8-bit types repeat with period 127, which no size here is a multiple of.
inline double value(Rank r, std::int64_t i, int world, DType type) {
  const auto plain = static_cast<double>(i * world + r + 1);
  if (type == DType::f32 || type == DType::i64) return plain;
  return static_cast<double>((i * world + r) % 127 + 1);
}
/// The sum of value(r, i) over all ranks, as `type` holds it.
inline double total(std::int64_t i, int world, DType type) {
  double sum = 0;
  if (type == DType::f32 || type == DType::i64) {  // i·W² + W(W + 1)/2
    return static_cast<double>(i * world * world + world * (world + 1) / 2);
  }
  for (Rank r = 0; r < world; ++r) sum += value(r, i, world, type);
  return static_cast<double>(to_float(to_bfloat16(static_cast<float>(sum))));
}

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
          fill(full, mine);
          seat.comm.reduce_scatter({.full = full, .shard = shard}, {"reduce"});
          expect(shard, sum, "set");
          expect(full, mine, "the input");
          if (type != DType::bf16) {
            seat.comm.reduce_scatter({.full = full, .shard = shard, .mode = Write::add},
                                     {"reduce more"});
            expect(
                shard, [&](std::int64_t i) { return 2 * sum(i); }, "add");
          }
          const View own = full.reshaped({n, k}).rows(self, 1);
          seat.comm.reduce_scatter({.full = full, .shard = own}, {"reduce in place"});
          expect(own, sum, "in place");
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
      seat.comm.reduce_scatter({full, shard, Write::add, kernels::FoldOrder::left}, {"left"});
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
      seat.comm.reduce_scatter(
          {.full = full, .shard = shard, .round = &round, .first = std::uint64_t(first)},
          {"rounded"});

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
