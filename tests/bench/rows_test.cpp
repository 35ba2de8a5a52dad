#include "sherd/bench/rows.hpp"

#include <doctest/doctest.h>

#include <set>
#include <string>

using namespace sherd;
using bench::BenchOptions;
using bench::Row;

namespace {

std::set<std::string> check(const std::vector<Row>& rows) {
  std::set<std::string> names;
  for (const Row& row : rows) {
    INFO(row.name);
    CHECK(row.wrong == 0);
    CHECK(row.time.median > 0);
    CHECK(row.work > 0);
    names.insert(row.name);
  }
  return names;
}

}  // namespace

TEST_CASE("optimizer rows have no wrong results, also where threads share them unevenly") {
  for (const int threads : {1, 3}) {
    const std::vector<Row> rows =
        bench::optim({.threads = threads, .quick = true, .rounds = 1, .n = 256 * 517});
    CHECK(check(rows) == std::set<std::string>{"adamw", "lion", "sgd"});
    for (const Row& row : rows) CHECK(row.bound > 0);
  }
}

TEST_CASE("kernel rows have no wrong results") {
  const std::set<std::string> names =
      check(bench::kernels({.threads = 2, .quick = true, .rounds = 1}));
  CHECK(names.contains("gelu backward"));
  CHECK(names.contains("layer norm backward"));
  CHECK(names.contains("swiglu backward"));
  CHECK(names.contains("rms norm backward"));
  CHECK(names.contains("rotary with norm backward"));
  CHECK(names.contains("cached attention"));
  CHECK(names.contains("cross entropy"));
  CHECK(names.contains("attention backward"));
  CHECK(names.contains("matmul"));
}

TEST_CASE("machine rows cover one thread and all of them") {
  const std::vector<Row> rows =
      bench::machine({.threads = 3, .quick = true, .rounds = 1, .n = 100000});
  std::set<std::int64_t> threads;
  for (const Row& row : rows) {
    if (row.name == "copy") threads.insert(std::get<std::int64_t>(row.extra.front().second));
  }
  CHECK(threads == std::set<std::int64_t>{1, 2, 3});
}
