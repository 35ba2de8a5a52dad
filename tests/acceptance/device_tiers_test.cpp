// `--offload-…` beside `--device cuda` from outside, on the emulated device: the hash of a run that
// keeps all on the device, tables that hold, and what failures come to.

#include "acceptance/program.hpp"

using namespace sherd::test;

namespace {

Place emulated(const std::vector<std::string>& more = {}) {
  Place place;
  place.environment = more;
  place.environment.push_back(std::string("SHERD_DEVICE_LIBRARY=") + SHERD_EMULATED);
  return place;
}

bool says(const Outcome& outcome, const std::string& words) {
  return outcome.err.find(words) != std::string::npos;
}

/// A text to train on, and a folder for what is in files.
struct Offloading : Bench {
  ScratchFolder files;

  [[nodiscard]] Words command(const std::string& flags, int steps = 5) const {
    return small_run("--micro-batch 2 --device cuda --steps " + std::to_string(steps) + " " +
                     flags);
  }
  [[nodiscard]] std::string on_file(const std::string& state) const {
    return state + " file --offload-dir " + files.file("") + " --offload-dir-any ";
  }
  [[nodiscard]] Training train(const std::string& flags) const {
    const std::string log = folder.file("run.jsonl");
    Training training{run_sherd(command(flags) + Words{"--log", log}, emulated()), {}};
    INFO(flags << "\n" << training.outcome.err);
    REQUIRE(training.outcome.code == 0);
    training.log = events(log);
    REQUIRE(training.end().at("event") == "end");
    CHECK(training.start().at("plan") == training.end().at("peak"));
    CHECK(files.is_empty());
    return training;
  }
};

/// The same run with its states elsewhere.
void check_same(const Offloading& bench, const std::string& numerics,
                const std::vector<std::string>& placements) {
  const Training resident = bench.train(numerics);
  for (const std::string& placement : placements) {
    CAPTURE(placement);
    const Training moved = bench.train(numerics + placement);
    CHECK(moved.hash() == resident.hash());
    CHECK(moved.key() == resident.key());
    CHECK(moved.start().at("plan").at("device").at("optimizer") <
          resident.start().at("plan").at("device").at("optimizer"));
  }
}

}  // namespace

TEST_CASE("states on host and file give the hash of a run with all of them on the device") {
  const Offloading bench;
  for (const std::string ranks : {"--ranks 1 ", "--ranks 2 --zero-stage 2 "}) {
    check_same(bench, "--precision bf16 " + ranks,
               {"--offload-optimizer host", "--offload-optimizer host --update-on device",
                bench.on_file("--offload-optimizer") + "--offload-tile 4096",
                "--offload-optimizer host --offload-fraction 0.5 --offload-tile 4096",
                "--offload-optimizer host --offload-activations host"});
  }
  check_same(bench, "--precision bf16 --master split --moments int8 --ranks 3 ",
             {"--offload-optimizer host --offload-params host --zero-stage 3",
              bench.on_file("--offload-optimizer") + "--zero-stage 1"});
}

TEST_CASE("a run says which phases wait for the host, and why") {
  const Offloading bench;
  CHECK(says(bench.train("--precision bf16 --offload-optimizer host").outcome,
             "phase update is issued step by step: its optimizer runs on the host"));
  const Training device = bench.train("--offload-optimizer host --update-on device");
  CHECK(says(device.outcome, "phase update is replayed as one graph"));
  CHECK(says(bench.train(bench.on_file("--offload-optimizer") + "--update-on device").outcome,
             "phase update is issued step by step: it reads and writes files"));
}

TEST_CASE("a closing table names what it compares with: stage 0, or all states on the device") {
  const Offloading bench;
  const std::string resident = bench.train("").outcome.out;
  CHECK(resident.find("all on device") == std::string::npos);
  CHECK(resident.find("stage 0\n") != std::string::npos);
  for (const char* moved : {"--offload-optimizer host", "--offload-activations host"})
    CHECK(bench.train(moved).outcome.out.find("all on device") != std::string::npos);
}

TEST_CASE("pinned memory for offloaded states counts against the host's limit") {
  const Offloading bench;
  const std::string flags = "--offload-optimizer host --host-memory-limit ";
  CHECK(bench.train(flags + "1GiB").start().at("plan").at("host").at("optimizer") > 0);
  const Outcome outcome = run_sherd(bench.command(flags + "1MiB"), emulated());
  INFO(outcome.err);
  CHECK(outcome.code == 3);
}

TEST_CASE("a kernel that fails beside lanes on the host is exit code 5 on every rank") {
  const Offloading bench;
  const std::string file = bench.on_file("--offload-optimizer") + "--offload-tile 4096";
  for (const std::string& placement :
       {std::string("--precision bf16 --offload-optimizer host"), file}) {
    for (const std::string ranks : {" --ranks 1", " --ranks 3 --zero-stage 3"}) {
      CAPTURE(placement);
      CAPTURE(ranks);
      const Outcome outcome = run_sherd(bench.command(placement + ranks, 100000),
                                        emulated({"SHERD_EMULATED_FAIL=launch:777"}));
      INFO(outcome.err);
      CHECK(outcome.code == 5);
      CHECK(says(outcome, "kernel 777 failed"));
      CHECK(bench.files.is_empty());
    }
  }
}
