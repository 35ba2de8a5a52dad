#include "sherd/bench/timing.hpp"

#include <doctest/doctest.h>

#include <array>
#include <string>

#include "sherd/base/errors.hpp"

using namespace sherd;
using bench::Timing;

TEST_CASE("a summary gives median, extremes and spread") {
  const Timing odd = bench::summarize({3, 1, 100, 2, 4});
  CHECK(odd.median == 3);
  CHECK(odd.fastest == 1);
  CHECK(odd.slowest == 100);
  CHECK(odd.rounds == 5);
  CHECK(odd.spread() == 33);
  CHECK(bench::summarize({4, 1, 2, 10}).median == 3);
  CHECK_THROWS_AS(static_cast<void>(bench::summarize({})), UsageError);
}

TEST_CASE("passes take turns after one warm-up each") {
  std::string order;
  const std::array passes = {bench::Pass([&] { order += 'a'; }),
                             bench::Pass([&] { order += 'b'; })};
  const std::vector<Timing> times = bench::alternate(3, passes);
  CHECK(order == "abababab");
  CHECK(times.size() == 2);
  CHECK(times[1].rounds == 3);
  CHECK_THROWS_AS(static_cast<void>(bench::alternate(0, passes)), UsageError);
}
