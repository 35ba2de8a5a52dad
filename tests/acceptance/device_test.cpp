// `--device cuda` from outside, on the emulated device: what a run on a GPU promises, and what each
// failure comes to.
#include <dlfcn.h>

#include "acceptance/program.hpp"

using namespace sherd::test;

namespace {

constexpr const char* steps = "--steps 5 --micro-batch 2 ";

Place emulated(const std::vector<std::string>& more = {}) {
  Place place;
  place.environment = more;
  place.environment.push_back(std::string("SHERD_DEVICE_LIBRARY=") + SHERD_EMULATED);
  return place;
}

bool has_driver() {
  void* handle = dlopen("libcuda.so.1", RTLD_NOW);
  if (handle != nullptr) dlclose(handle);
  return handle != nullptr;
}

bool says(const Outcome& outcome, const std::string& words) {
  return outcome.err.find(words) != std::string::npos;
}

/// A run that must succeed on the emulated device.
Training train(const Bench& bench, const std::string& flags) {
  const std::string log = bench.folder.file("run.jsonl");
  Training training{run_sherd(bench.small_run(flags) + Words{"--log", log}, emulated()), {}};
  INFO(training.outcome.err);
  REQUIRE(training.outcome.code == 0);
  training.log = events(log);
  REQUIRE(training.end().at("event") == "end");
  return training;
}

}  // namespace

TEST_CASE("a run on a device without one ends with exit code 2 and the driver's reason") {
  if (has_driver()) {
    std::puts("SKIP: this machine has a CUDA driver");
    return;
  }
  const Bench bench;
  const Outcome outcome = run_sherd(bench.small_run(std::string(steps) + "--device cuda"));
  CHECK(outcome.code == 2);
  CHECK(says(outcome, "no CUDA driver"));
  CHECK(says(outcome, "libcuda.so.1"));
  const Outcome nccl = run_sherd(bench.small_run(std::string(steps) + "--ranks 2 --backend nccl"));
  CHECK(nccl.code == 2);
  CHECK(says(nccl, "--backend: nccl needs a GPU"));
}

TEST_CASE("a device library that is not there is exit code 2 for cuda and nothing to the CPU") {
  const Bench bench;
  Place place;
  place.environment = {"SHERD_DEVICE_LIBRARY=/nonexistent/libsherd.so"};
  const Outcome cuda = run_sherd(bench.small_run(std::string(steps) + "--device cuda"), place);
  CHECK(cuda.code == 2);
  CHECK(says(cuda, "/nonexistent/libsherd.so"));
  CHECK(run_sherd(bench.small_run(std::string(steps) + "--device cpu"), place).code == 0);
}

TEST_CASE("auto takes the CPU where no device works, and says why once") {
  const Bench bench;
  Place lost;
  lost.environment = {"SHERD_DEVICE_LIBRARY=/nonexistent/libsherd.so"};
  for (const auto& [place, why] :
       {std::pair{lost, "/nonexistent/libsherd.so"},
        {emulated({"SHERD_EMULATED_DEVICES=0"}), "there is no device"}}) {
    const Outcome outcome =
        run_sherd(bench.small_run(std::string(steps) + "--device auto --ranks 2"), place);
    INFO(outcome.err);
    CHECK(outcome.code == 0);
    const std::size_t first = outcome.err.find("--device auto takes the CPU");
    REQUIRE(first != std::string::npos);
    CHECK(outcome.err.find("takes the CPU", first + 20) == std::string::npos);
    CHECK(says(outcome, why));
  }
  const Outcome cpu = run_sherd(bench.small_run(std::string(steps) + "--device cpu"), lost);
  CHECK_FALSE(says(cpu, "takes the CPU"));
}

TEST_CASE("the key of a run names the device that was asked for") {
  const Bench bench;
  const Training zero = train(bench, std::string(steps) + "--device cuda:0"),
                 one = train(bench, std::string(steps) + "--device cuda:1");
  CHECK(train(bench, std::string(steps) + "--device cuda").key() == zero.key());
  CHECK(one.key() != zero.key());  // another kind of card
  CHECK(says(one.outcome, "other emulated device"));
}

TEST_CASE("bad names and indices of devices are exit code 2") {
  const Bench bench;
  for (const auto& [device, words] : {std::pair{"cuda:9", "got index 9"},
                                      {"cuda:-1", "cuda:INDEX"},
                                      {"gpu", "got 'gpu'"},
                                      {"cuda:", "cuda:INDEX"},
                                      {"cuda:0x", "cuda:INDEX"}}) {
    CAPTURE(device);
    std::string flags = steps;
    flags.append("--device ").append(device);
    const Outcome outcome = run_sherd(bench.small_run(flags), emulated());
    CHECK(outcome.code == 2);
    CHECK(says(outcome, words));
  }
  const Outcome nccl =
      run_sherd(bench.small_run(std::string(steps) + "--ranks 2 --backend nccl"), emulated());
  CHECK(nccl.code == 2);
  CHECK(says(nccl, "NCCL"));
}

TEST_CASE("auto takes a device that works, says so, and uses another for each rank") {
  const Bench bench;
  const Training one = train(bench, std::string(steps) + "--device auto");
  CHECK(says(one.outcome, "emulated device"));
  CHECK(one.start().at("config").at("device") == "cuda");
  CHECK(says(one.outcome, "replayed as one graph"));
  const Training cpu = bench.train(std::string(steps) + "--device cpu");
  CHECK(one.hash() == cpu.hash());  // of the emulated device; a real one multiplies otherwise
  CHECK(one.key() != cpu.key());
}

TEST_CASE("rank processes on a device give equal hashes at every stage and hold what was planned") {
  const Bench bench;
  for (const int world : {1, 2, 3}) {
    std::string hash;
    for (int stage = 0; stage <= 3; ++stage) {
      const Training training = train(
          bench, std::string(steps) + "--device cuda --precision bf16 --dropout 0.1 --ranks " +
                     std::to_string(world) + " --zero-stage " + std::to_string(stage));
      CAPTURE(world);
      CAPTURE(stage);
      if (hash.empty()) hash = training.hash();
      CHECK(training.hash() == hash);
      CHECK(training.start().at("plan") == training.end().at("peak"));
      CHECK(training.end().at("device_growth") == 0);
    }
  }
}

TEST_CASE("a device that is too full is exit code 3 with flags that fit") {
  const Bench bench;
  const Outcome outcome = run_sherd(bench.small_run("--steps 5 --micro-batch 16384 --device cuda"),
                                    emulated({"SHERD_EMULATED_MEMORY=2GiB"}));
  INFO(outcome.err);
  CHECK(outcome.code == 3);
  CHECK(says(outcome, "free"));
  CHECK(says(outcome, "fits: "));
}

TEST_CASE("a kernel that fails in the middle of a step is exit code 5, on one rank or on all") {
  const Bench bench;
  for (const std::string more : {"--ranks 1", "--ranks 2", "--ranks 3 --zero-stage 3"}) {
    CAPTURE(more);
    const Outcome outcome =
        run_sherd(bench.small_run("--steps 1000000 --micro-batch 2 --device cuda " + more),
                  emulated({"SHERD_EMULATED_FAIL=launch:777"}));
    INFO(outcome.err);
    CHECK(outcome.code == 5);
    CHECK(says(outcome, "kernel 777 failed"));
    CHECK(says(outcome, "rank "));
  }
}

TEST_CASE("a plan for a device needs none") {
  const Bench bench;
  const Json plan = bench.plan("--device cuda --ranks 4 --zero-stage 3");
  CHECK(plan.at("plan").at("host").at("peak") > 0);  // pinned memory
  CHECK(plan.at("plan").at("device").at("runtime") > 1000000);
}
