#include "acceptance/program.hpp"

using namespace sherd::test;

TEST_CASE(
    "GPT-2 of 124 million parameters stays within its plan and the reserve, with threads too") {
  const Bench bench;
  for (const std::string flags : {"--threads 4", "--ranks 2 --threads 2 --zero-stage 3"}) {
    CAPTURE(flags);
    const std::string log = bench.folder.file("log");
    Process run(words(std::string(SHERD_BINARY) +
                      " train --model gpt2-124m --micro-batch 4 --seq-len 64 --steps 2 --quiet " +
                      flags + " --data " + bench.text + " --log " + log));
    const Outcome outcome = run.wait(std::chrono::seconds(400));
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    const Json end = events(log).back();
    const std::int64_t resident = end.at("rss_peak"), peak = end.at("peak").at("device").at("peak"),
                       runtime = end.at("peak").at("device").at("runtime");
    CHECK(resident > peak);
    CHECK(resident - peak <= runtime);
  }
}
