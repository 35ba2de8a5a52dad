#include "acceptance/program.hpp"

using namespace sherd::test;

// What the process holds beyond the plan: libraries, code, stacks.
TEST_CASE("resident memory stays within the plan, the reserve and a little more") {
  const Bench bench;
  constexpr std::int64_t mib = 1 << 20;
  for (const std::string ranks : {"1", "2", "5"}) {
    for (const std::string stage : {"0", "3"}) {
      CAPTURE(ranks);
      CAPTURE(stage);
      const Json end =
          bench.train("--steps 3 --micro-batch 2 --ranks " + ranks + " --zero-stage " + stage)
              .end();
      const std::int64_t resident = end.at("rss_peak"),
                         peak = end.at("peak").at("device").at("peak"),
                         runtime = end.at("peak").at("device").at("runtime");
      CHECK(resident > peak);
      CHECK(resident - peak <= 96 * mib);
      CHECK(resident - peak - runtime <= 16 * mib + resident / 100);
    }
  }
}
