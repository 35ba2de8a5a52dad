#include "sherd/cli/event_log.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "cli/scratch_folder.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/cli/config_json.hpp"

using namespace sherd;

namespace {

const std::string no_bytes =
    R"({"peak":0,"runtime":0,"params":0,"grads":0,"optimizer":0,"activations":0,"comm":0,)"
    R"("staging":0,"control":0,"unused":0})";

cli::MemoryTable some_bytes() {
  cli::MemoryTable table;
  table.device = {.peak = 28,
                  .runtime = 100,
                  .params = 1,
                  .grads = 2,
                  .optimizer = 3,
                  .activations = 4,
                  .comm = 5,
                  .staging = 6,
                  .control = 7};
  return table;
}

const std::string some_json =
    R"({"device":{"peak":28,"runtime":100,"params":1,"grads":2,"optimizer":3,"activations":4,)"
    R"("comm":5,"staging":6,"control":7,"unused":0},"host":)" +
    no_bytes + R"(,"file":)" + no_bytes + "}";

}  // namespace

TEST_CASE("each event is one line with the documented keys in order") {
  const ScratchFolder folder;
  folder.write("log", "left over from before\n");
  {
    cli::EventLog log(folder.file("log"));
    log.write(cli::StepEvent{.step = 1,
                             .loss = 10.97,
                             .grad_norm = 1.93,
                             .lr = 1e-4,
                             .loss_scale = 1,
                             .skipped = false,
                             .tokens = 1024,
                             .seconds = 0.71,
                             .tokens_per_second = 1442.25});
    log.write(cli::EvalEvent{.step = 10, .loss = 2.5});
    CHECK(folder.read("log").ends_with("{\"event\":\"eval\",\"step\":10,\"loss\":2.5}\n"));
    log.write(cli::EndEvent{.steps = 10,
                            .loss = 2.25,
                            .parameters_hash = "abc",
                            .wire_bytes = {.all_gather = 1, .reduce_scatter = 2, .all_reduce = 3},
                            .peak = some_bytes(),
                            .rss_peak = 4096,
                            .seconds = 7.5});
  }
  CHECK(folder.read("log") ==
        R"({"event":"step","step":1,"loss":10.97,"grad_norm":1.93,"lr":0.0001,"loss_scale":1.0,)"
        R"("skipped":false,"tokens":1024,"seconds":0.71,"tokens_per_second":1442.25})"
        "\n"
        R"({"event":"eval","step":10,"loss":2.5})"
        "\n"
        R"({"event":"end","steps":10,"loss":2.25,"parameters_hash":"abc","wire_bytes":)"
        R"({"all_gather":1,"reduce_scatter":2,"all_reduce":3},"peak":)" +
            some_json + R"(,"rss_peak":4096,"seconds":7.5})" + "\n");
}

TEST_CASE("a start event holds the whole config and the plan") {
  const ScratchFolder folder;
  launch::RunConfig config;
  config.batch.steps = 3;
  {
    cli::EventLog log(folder.file("log"));
    log.write(cli::StartEvent{.config = config,
                              .numerics_key = "k1",
                              .parameters = 124439808,
                              .world = 2,
                              .pids = {11, 12},
                              .plan = some_bytes()});
  }
  const std::string line = folder.read("log");
  const std::string before = R"({"event":"start","version":")" + std::string(cli::version()) +
                             R"(","config":{"backend":"auto",)";
  CHECK(line.starts_with(before));
  CHECK(line.ends_with(
      R"("numerics_key":"k1","parameters":124439808,"world":2,"pids":[11,12],"plan":)" + some_json +
      "}\n"));
  const auto event = nlohmann::json::parse(line);
  launch::RunConfig again;
  CHECK(cli::read_json(event["config"].dump(), "log", again).empty());
  CHECK(cli::to_json(again) == cli::to_json(config));
  CHECK(cli::to_json(some_bytes()) == some_json);
}

TEST_CASE("a number that is not finite is null, any other reads back the same") {
  const ScratchFolder folder;
  const double values[] = {0.1 + 0.2, 1e-310, 1e300, 1.0 / 3.0, 123456789.125, -0.0};
  {
    cli::EventLog log(folder.file("log"));
    log.write(cli::EvalEvent{.step = 1, .loss = std::numeric_limits<double>::quiet_NaN()});
    log.write(cli::EvalEvent{.step = 2, .loss = std::numeric_limits<double>::infinity()});
    for (const double value : values) log.write(cli::EvalEvent{.step = 3, .loss = value});
  }
  std::istringstream lines(folder.read("log"));
  std::string line;
  for (int i = 0; i < 2; ++i) {
    std::getline(lines, line);
    CHECK(line.ends_with("\"loss\":null}"));
  }
  for (const double value : values) {
    std::getline(lines, line);
    CHECK(nlohmann::json::parse(line)["loss"].get<double>() == value);
  }
}

TEST_CASE("a log that cannot be written is refused before work, and nothing is created") {
  const ScratchFolder folder;
  CHECK(cli::write_problem("--log", "").empty());
  CHECK(cli::write_problem("--log", folder.file("log")).empty());
  CHECK(folder.is_empty());
  const std::string nowhere = folder.file("none/log");
  CHECK(cli::write_problem("--log", nowhere) ==
        "--log: cannot write '" + nowhere + "': there is no folder '" + folder.file("none") + "'");
  CHECK_THROWS_AS(cli::EventLog{nowhere}, ConfigError);
  CHECK_THROWS_AS(cli::EventLog{folder.file("")}, ConfigError);
  CHECK(folder.is_empty());
}

TEST_CASE("a full disk under the log is an error of the write") {
  cli::EventLog log("/dev/full");
  CHECK_THROWS_AS(log.write(cli::EvalEvent{.step = 1, .loss = 1}), Error);
}

TEST_CASE("no path writes nothing") { cli::EventLog("").write(cli::EvalEvent{}); }
