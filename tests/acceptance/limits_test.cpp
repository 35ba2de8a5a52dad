#include <algorithm>
#include <filesystem>

#include "acceptance/program.hpp"

using namespace sherd::test;

namespace {

/// The flags after the first "fits:", without the remark in brackets.
Words suggestion(const std::string& err) {
  const std::size_t at = err.find("fits: ");
  if (at == std::string::npos) return {};
  const std::string line = err.substr(at + 6, err.find('\n', at) - at - 6);
  return words(line.substr(0, line.find("  (")));
}

/// `command` with the flags of `change` instead of its own.
Words changed(Words command, const Words& change) {
  for (std::size_t i = 0; i + 1 < change.size(); i += 2) {
    const auto found = std::find(command.begin(), command.end(), change[i]);
    if (found == command.end()) {
      command.push_back(change[i]);
      command.push_back(change[i + 1]);
    } else {
      *(found + 1) = change[i + 1];
    }
  }
  return command;
}

}  // namespace

TEST_CASE("a limit of exactly the need trains and one byte less is exit code 3") {
  const Bench bench;
  for (const std::string flags :
       {"--steps 1", "--steps 1 --ranks 2", "--steps 1 --ranks 2 --zero-stage 3",
        "--steps 1 --ranks 3 --zero-stage 1 --micro-batch 3", "--steps 1 --micro-batch 1",
        "--steps 1 --ranks 2 --zero-stage 2 --recompute block --global-batch 12"}) {
    CAPTURE(flags);
    const Json device = bench.plan(flags).at("plan").at("device");
    const std::uint64_t need =
        device.at("peak").get<std::uint64_t>() + device.at("runtime").get<std::uint64_t>();
    const std::string limit = " --memory-limit ";
    CHECK(bench.train(flags + limit + std::to_string(need)).end().at("steps") == 1);

    const std::string log = bench.folder.file("refused.jsonl");
    std::filesystem::remove(log);
    const Words tight =
        bench.small_run(flags + limit + std::to_string(need - 1)) + Words{"--log", log};
    const Outcome refused = run_sherd(tight);
    CHECK(refused.code == 3);
    CHECK(refused.out.empty());
    CHECK_FALSE(std::filesystem::exists(log));
    const Words change = suggestion(refused.err);
    INFO(refused.err);
    REQUIRE_FALSE(change.empty());
    const Outcome fitting = run_sherd(changed(tight, change));
    INFO(fitting.err);
    CHECK(fitting.code == 0);
  }
}

TEST_CASE("a plan that does not fit is printed and ends with exit code 3") {
  const Bench bench;
  const std::uint64_t need = bench.plan("").at("need");
  const Words command = words("plan --json " + small + "--memory-limit ");
  Words fits = command, tight = command;
  fits.push_back(std::to_string(need));
  tight.push_back(std::to_string(need - 1));
  CHECK(run_sherd(fits).code == 0);
  const Outcome refused = run_sherd(tight);
  CHECK(refused.code == 3);
  CHECK(Json::parse(refused.out).at("need") == need);
  CHECK_FALSE(suggestion(refused.err).empty());
}

TEST_CASE("flags that fit are found for odd batches and where only more ranks help") {
  const Bench bench;
  for (const std::string flags :
       {"--steps 1 --recompute block --micro-batch 15 --precision bf16 --grad-dtype bf16",
        "--steps 1 --recompute block --global-batch 1 --precision bf16 --grad-dtype bf16",
        "--steps 1 --recompute block --micro-batch 1 --grad-accum 6 --global-batch 6 "
        "--reduce-order canonical --precision bf16"}) {
    CAPTURE(flags);
    const std::uint64_t need = bench.plan(flags).at("need");
    const Words tight = bench.small_run(flags + " --memory-limit " + std::to_string(need - 1));
    const Outcome refused = run_sherd(tight);
    INFO(refused.err);
    CHECK(refused.code == 3);
    const Words change = suggestion(refused.err);
    REQUIRE_FALSE(change.empty());
    const Outcome fitting = run_sherd(changed(tight, change));
    INFO(fitting.err);
    CHECK(fitting.code == 0);
  }
}

TEST_CASE("a limit below what libraries need says that nothing fits") {
  const Bench bench;
  const Outcome refused = run_sherd(bench.small_run("--steps 1 --memory-limit 1MiB"));
  CHECK(refused.code == 3);
  CHECK(suggestion(refused.err).empty());
  CHECK(refused.err.find("no combination") != std::string::npos);
}

TEST_CASE("persistent bytes are those of the sharding formula") {
  const Bench bench;
  for (const int stage : {0, 1, 2, 3}) {
    for (const int ranks : {1, 2, 3, 7}) {
      CAPTURE(stage);
      CAPTURE(ranks);
      const Json plan = bench.plan("--micro-batch 1 --bucket-bytes 100000 --zero-stage " +
                                   std::to_string(stage) + " --ranks " + std::to_string(ranks));
      const std::uint64_t padded = plan.at("padded_parameters"),
                          n = static_cast<std::uint64_t>(ranks);
      CHECK(padded >= plan.at("parameters").get<std::uint64_t>());
      CHECK(padded % (256 * n) == 0);
      const Json& bytes = plan.at("persistent");
      CHECK(bytes.at("params") == 4 * padded / (stage >= 3 ? n : 1));
      CHECK(bytes.at("grads") == 4 * padded / (stage >= 2 ? n : 1));
      CHECK(bytes.at("optimizer") == 8 * padded / (stage >= 1 ? n : 1));
    }
  }
}
