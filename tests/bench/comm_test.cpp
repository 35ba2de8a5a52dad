#include "sherd/bench/comm.hpp"

#include <doctest/doctest.h>

#include <thread>

#include "sherd/base/errors.hpp"
#include "sherd/comm/local.hpp"
#include "sherd/memory/arena.hpp"

using namespace sherd;
using bench::Row;

namespace {

std::vector<std::vector<Row>> rows_of(int world) {
  const comm::ControlMapping control = comm::ControlBlock::create(world);
  const auto peers = comm::thread_arenas(world);
  std::vector<memory::Arena> arenas;
  for (Rank r = 0; r < world; ++r) arenas.push_back(memory::Arena::anonymous(bench::comm_arena()));
  std::vector<std::vector<Row>> rows(static_cast<std::size_t>(world));
  std::vector<std::thread> ranks;
  for (Rank r = 0; r < world; ++r) {
    ranks.emplace_back([&, r] {
      const auto at = static_cast<std::size_t>(r);
      const std::span<std::byte> arena = arenas[at].bytes();
      const auto comm = comm::local({&*control, r, arena, peers, std::chrono::seconds(60)});
      rows[at] = bench::comm_rank(*comm, arena, {.quick = true, .rounds = 1});
    });
  }
  for (std::thread& rank : ranks) rank.join();
  return rows;
}

}  // namespace

TEST_CASE("collectives give their closed forms on every rank, beside a bound") {
  for (const int world : {2, 4}) {
    for (const std::vector<Row>& rows : rows_of(world)) {
      REQUIRE(rows.size() == 3);
      CHECK(rows[0].name == "reduce-scatter");
      CHECK(rows[1].name == "all-gather");
      CHECK(rows[2].name == "all-reduce");
      for (const Row& row : rows) {
        CHECK(row.wrong == 0);
        CHECK(row.bound > 0);
        CHECK(row.time.median > 0);
      }
    }
  }
}

TEST_CASE("a reduce-scatter of two ranks moves three halves of its input on each") {
  const std::vector<std::vector<Row>> rows = rows_of(2);
  CHECK(rows[0][0].work == 24.0 * mib);
  CHECK(rows[0][1].work == 16.0 * mib);
  CHECK(rows[0][2].work == 40.0 * mib);
}

TEST_CASE("an arena that cannot hold the operands is refused") {
  const comm::ControlMapping control = comm::ControlBlock::create(1);
  const memory::Arena arena = memory::Arena::anonymous(4096);
  const auto comm = comm::local({&*control, 0, arena.bytes(), nullptr, std::chrono::seconds(60)});
  CHECK_THROWS_AS((void)bench::comm_rank(*comm, arena.bytes(), {}), UsageError);
}

TEST_CASE("the machine's rates are positive and are what its row says") {
  const bench::BenchOptions options{.threads = 2, .quick = true, .rounds = 1};
  const plan::Machine rates = bench::measure_machine(options);
  CHECK(rates.flops > 0);
  CHECK(rates.memory_bandwidth > 0);
  CHECK(rates.net_bandwidth > 0);
  CHECK(rates.net_latency > 0);
  const Row row = bench::machine_row(rates, options);
  CHECK(row.per_second() == doctest::Approx(rates.flops));
  CHECK(row.of_bound() == doctest::Approx(1));
  CHECK(std::get<double>(row.extra[1].second) == rates.flops);
  CHECK(row.extra[2].first == "memory_bandwidth");
}
