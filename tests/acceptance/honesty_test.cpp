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

TEST_CASE("resident memory is the arenas of device and host, and a little more") {
  const Bench bench;
  constexpr std::int64_t mib = 1 << 20;
  const ScratchFolder disk;
  for (const std::string where : {"--offload-optimizer host --offload-params host",
                                  "--offload-optimizer file --offload-params file"}) {
    CAPTURE(where);
    const Words command = words(
        "train --layers 8 --width 512 --heads 8 --steps 3 --micro-batch 1 --seq-len 32 " + where +
        (where.find("file") != std::string::npos
             ? " --offload-dir-any --offload-dir " + disk.file("")
             : ""));
    const Json end = bench.logged(command + Words{"--data", bench.text}).end();
    const Json& peak = end.at("peak");
    const std::int64_t planned = peak.at("device").at("peak").get<std::int64_t>() +
                                 peak.at("host").at("peak").get<std::int64_t>();
    const std::int64_t resident = end.at("rss_peak");
    CHECK(resident >= planned);
    CHECK(resident - planned <= 96 * mib);
  }
}
