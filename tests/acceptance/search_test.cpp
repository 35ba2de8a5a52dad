#include <algorithm>

#include "acceptance/program.hpp"

using namespace sherd::test;

namespace {

const std::string machine =
    R"({"name": "box", "rates": "measured", "source": "nobody measured it", "flops": 1e9,
        "memory_bandwidth": 1e9, "net_bandwidth": 1e9, "host_bandwidth": 1e8)";

bool says(const Outcome& outcome, const std::string& what) {
  return outcome.err.find(what) != std::string::npos;
}

/// `--memory-limit` of that part of what the flags need for the state and the activations.
std::string limit(const Bench& bench, const std::string& flags, double part) {
  const Json device = bench.plan(flags).at("plan").at("device");
  const auto peak = device.at("peak").get<double>();
  const auto runtime = device.at("runtime").get<double>();
  return " --memory-limit " + std::to_string(static_cast<std::uint64_t>(peak * part + runtime));
}

}  // namespace

TEST_CASE("a run told to fit chooses flags once, says them, and gives the same bits") {
  const Bench bench;
  const std::string flags = "--steps 3 --ranks 2 --grad-accum 2 ";
  const Training roomy = bench.train(flags);
  const Training fitted = bench.train(flags + "--fit" + limit(bench, flags, 0.6));
  INFO(fitted.outcome.err);
  CHECK(says(fitted.outcome, "--fit: --"));
  CHECK(fitted.key() == roomy.key());
  CHECK(fitted.hash() == roomy.hash());
  const Json& before = roomy.start().at("plan").at("device").at("peak");
  const Json& after = fitted.start().at("plan").at("device").at("peak");
  CHECK(after.get<double>() <= 0.6 * before.get<double>());
}

TEST_CASE("a run told to fit leaves what is given and refuses what nothing makes fit") {
  const Bench bench;
  const std::string flags = "--steps 2 --ranks 2 --recompute none --zero-stage 1 ";
  const Training fitted = bench.train(flags + "--fit" + limit(bench, flags, 0.9));
  const std::string& said = fitted.outcome.err;
  const std::string line = said.substr(said.find("--fit: "), said.find('\n', said.find("--fit: ")));
  CHECK(line.find("--recompute") == std::string::npos);
  CHECK(line.find("--zero-stage") == std::string::npos);
  const Outcome refused =
      run_sherd(bench.small_run("--steps 1 --fit --memory-limit 1MiB --host-memory-limit 1MiB"));
  CHECK(refused.code == 3);
  CHECK(says(refused, "this run needs"));
}

TEST_CASE("a search ranks configurations on a described machine, and its winner trains") {
  const Bench bench;
  const std::string file = bench.folder.write("box.json", machine + "}");
  const std::string flags = "--ranks 2 --micro-batch 4 --grad-accum 2 ";
  const Words search = words("plan --search " + small + flags + limit(bench, flags, 0.6)) +
                       Words{"--machine", file, "--data", bench.text};
  const Outcome text = run_sherd(search);
  INFO(text.err);
  REQUIRE(text.code == 0);
  for (const char* what : {"rates of box (measured)", "s a step", "% slower", "more on the device"})
    CHECK(text.out.find(what) != std::string::npos);
  const Outcome outcome = run_sherd(search + Words{"--json"});
  REQUIRE(outcome.code == 0);
  const Json found = Json::parse(outcome.out);
  CHECK(found.at("machine") == "box");
  CHECK(found.at("planned").get<int>() <= 400);
  const Json& winner = found.at("candidates").at(0);
  CHECK(winner.at("fits") == true);
  CHECK(winner.at("why") == "");
  double last = 0;
  for (const Json& candidate : found.at("candidates")) {
    if (candidate.at("fits") == false) continue;
    CHECK(candidate.at("step_seconds").get<double>() >= last);
    last = candidate.at("step_seconds");
  }
  const std::string chosen = winner.at("flags");
  CHECK(bench.plan(flags + chosen).at("need") == winner.at("need").at("device"));
  const Training small_one = bench.train(flags + "--steps 2 " + chosen);
  CHECK(small_one.key() == bench.train(flags + "--steps 2").key());
}

TEST_CASE("a search says when nothing fits, and what is no machine is named") {
  const Bench bench;
  const Words plan = words("plan " + small + "--ranks 2 ");
  const Outcome none = run_sherd(plan + words("--search --json --memory-limit 1MiB"));
  CHECK(none.code == 3);
  CHECK(Json::parse(none.out).at("candidates").at(0).at("fits") == false);
  const std::string bad = bench.folder.write("bad.json", machine + R"(, "disk": 1})");
  const Outcome unknown = run_sherd(plan + Words{"--machine", bad});
  CHECK(unknown.code == 4);
  CHECK(says(unknown, "unknown key \"disk\""));
  const Outcome absent = run_sherd(plan + words("--machine nowhere"));
  CHECK(absent.code == 2);
  CHECK(says(absent, "--machine: got 'nowhere', need cpu, h200 or a JSON file"));
  CHECK(run_sherd(plan + words("--change-numerics")).code == 2);
}
