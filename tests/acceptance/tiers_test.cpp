// States on host and file, as a user turns them on.
#include <filesystem>

#include "acceptance/program.hpp"

using namespace sherd::test;

namespace {

const std::string base = "--steps 3 --lr 1e-3 --micro-batch 2 --clip-grad-norm 1 ";

/// A folder for files on whatever disk the tests run.
struct Disk {
  ScratchFolder folder;
  [[nodiscard]] std::string flags() const {
    return " --offload-dir-any --offload-dir " + folder.file("") + " ";
  }
  [[nodiscard]] bool is_empty() const { return folder.is_empty(); }
};

std::int64_t bytes(const Json& table, const char* tier, const char* use) {
  return table.at(tier).at(use);
}

/// The peak of each tier as planned, at the start and at the end.
void check_peaks(const Json& planned, const Training& training) {
  for (const char* tier : {"device", "host", "file"}) {
    CAPTURE(tier);
    CHECK(training.start().at("plan").at(tier) == planned.at("plan").at(tier));
    CHECK(training.end().at("peak").at(tier) == planned.at("plan").at(tier));
  }
}

}  // namespace

TEST_CASE("offloading changes no bit, and each tier holds what was planned") {
  const Bench bench;
  const Disk disk;
  struct Kind {
    std::string key, where;
  };
  for (const Kind& kind : {Kind{"--precision bf16 ", "--offload-optimizer host"},
                           Kind{"--precision bf16 --master split --moments int8 ",
                                "--offload-optimizer file --offload-params host" + disk.flags()},
                           Kind{"--ranks 2 --grad-accum 2 --reduce-every micro ",
                                "--zero-stage 3 --offload-params file --offload-moments file "
                                "--offload-grads host --offload-activations host" +
                                    disk.flags()},
                           Kind{"--ranks 3 --precision bf16 --grad-dtype bf16 --moments bf16 ",
                                "--zero-stage 1 --offload-optimizer file --offload-fraction 0.3 "
                                "--update-on device --io-engine threads" +
                                    disk.flags()}}) {
    CAPTURE(kind.key);
    const Training here = bench.train(base + kind.key);
    const Training there = bench.train(base + kind.key + kind.where);
    check_same(here, there);
    check_peaks(bench.plan(base + kind.key + kind.where), there);
    CHECK(bytes(there.end().at("peak"), "device", "peak") <
          bytes(here.end().at("peak"), "device", "peak"));
    CHECK(disk.is_empty());
  }
}

TEST_CASE(
    "what is needed of each tier exactly fits, one byte less is refused with flags that fit") {
  const Bench bench;
  const Disk disk;
  const std::string flags =
      "--steps 1 --micro-batch 2 --precision bf16 --offload-optimizer file "
      "--offload-params host" +
      disk.flags();
  const Json plan = bench.plan(flags).at("plan");
  const std::int64_t host = bytes(plan, "host", "peak"), file = bytes(plan, "file", "peak");
  REQUIRE(host > 0);
  REQUIRE(file > 0);
  CHECK(bench
            .train(flags + "--host-memory-limit " + std::to_string(host) + " --file-limit " +
                   std::to_string(file))
            .outcome.code == 0);
  for (const std::string& less : {"--host-memory-limit " + std::to_string(host - 1),
                                  "--file-limit " + std::to_string(file - 1)}) {
    CAPTURE(less);
    const Outcome refused = run_sherd(bench.small_run(flags + less));
    CHECK(refused.code == 3);
    CHECK(refused.err.find(less.substr(0, less.find(' '))) != std::string::npos);
    CHECK(refused.err.find("fits:") != std::string::npos);
  }
  CHECK(disk.is_empty());
}

TEST_CASE("a plan in words says what every tier needs and what moves between them") {
  const Bench bench;
  const std::string flags =
      "--steps 1 --offload-optimizer file --offload-params host "
      "--offload-dir /nowhere ";
  const Json plan = bench.plan(flags).at("plan");
  for (const Words& command :
       {words("plan " + small + flags), words("train --dry-run " + small + flags)}) {
    const Outcome said = run_sherd(command + Words{"--data", bench.text});
    INFO(said.out);
    REQUIRE(said.code == 0);
    for (const char* tier : {"host", "file"}) {
      const std::int64_t need = bytes(plan, tier, "peak");
      REQUIRE(need > 0);
      CHECK(said.out.find(" " + std::to_string(need) + " ") != std::string::npos);
    }
    for (const char* told :
         {" of host memory", " in files", "moved a rank and step: to the device"})
      CHECK(said.out.find(told) != std::string::npos);
  }
  const Outcome resident =
      run_sherd(words("plan --steps 1 " + small) + Words{"--data", bench.text});
  CHECK(resident.out.find(" of host memory") == std::string::npos);
  CHECK(resident.out.find("moved a rank") == std::string::npos);
}

TEST_CASE("flags that offload nothing, or to nowhere, are refused before any work") {
  const Bench bench;
  struct Bad {
    std::string flags, said;
  };
  for (const Bad& bad :
       {Bad{"--offload-optimizer file", "--offload-dir: needed"},
        Bad{"--offload-dir /", "--offload-dir: needs a state"},
        Bad{"--offload-fraction 0.5", "--offload-fraction: needs a state"},
        Bad{"--offload-optimizer host --offload-fraction 1.5", "--offload-fraction"},
        Bad{"--offload-optimizer host --offload-tile 300", "--offload-tile: got 300"},
        Bad{"--offload-master host", "--offload-master: needs --precision"},
        Bad{"--master split", "--master: split needs --precision bf16"},
        Bad{"--moments int8 --optimizer sgd --beta1 0", "--moments: sgd without --beta1"},
        Bad{"--update-on host", "--update-on: host needs"},
        Bad{"--offload-params disk", "--offload-params"},
        Bad{"--io-engine uring", "--io-engine: needs a state"}}) {
    CAPTURE(bad.flags);
    const Outcome refused = run_sherd(bench.small_run("--steps 1 " + bad.flags));
    CHECK(refused.code == 2);
    CHECK(refused.err.find(bad.said) != std::string::npos);
  }
  const Outcome missing =
      run_sherd(bench.small_run("--steps 1 --offload-params file --offload-dir /no/such/folder"));
  CHECK(missing.code == 2);
  CHECK(missing.err.find("/no/such/folder") != std::string::npos);
}

TEST_CASE("memory that calls itself a disk is refused unless it is asked for") {
  if (!std::filesystem::is_directory("/dev/shm")) return;
  const Bench bench;
  const std::string flags = "--steps 1 --offload-params file --offload-dir /dev/shm ";
  const Outcome refused = run_sherd(bench.small_run(flags));
  CHECK(refused.code == 2);
  CHECK(refused.err.find("--offload-dir-any") != std::string::npos);
  CHECK(run_sherd(bench.small_run(flags + "--offload-dir-any")).code == 0);
}

TEST_CASE("a second run in the same folder is refused, and a kill leaves nothing") {
  const Bench bench;
  const Disk disk;
  const std::string log = bench.folder.file("first.jsonl");
  Process first(Words{SHERD_BINARY} +
                bench.small_run("--steps 100000000 --quiet --offload-params file" + disk.flags()) +
                Words{"--log", log});
  REQUIRE(wait_until([&] { return events(log).size() > 1; }));
  const std::string again = "--steps 1 --offload-params file" + disk.flags();
  const Outcome second = run_sherd(bench.small_run(again));
  CHECK(second.code == 2);
  CHECK(second.err.find("--offload-dir") != std::string::npos);
  CHECK(second.err.find(std::to_string(first.pid())) != std::string::npos);
  first.send(SIGKILL);
  CHECK(first.wait().signal == SIGKILL);
  const auto pids = events(log).front().at("pids").get<std::vector<pid_t>>();
  for (const pid_t pid : pids) CHECK(wait_until([pid] { return is_gone(pid); }));
  CHECK(bench.train(again).outcome.code == 0);
  CHECK(disk.is_empty());
}
