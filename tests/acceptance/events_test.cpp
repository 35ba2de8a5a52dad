#include <filesystem>

#include "acceptance/program.hpp"

using namespace sherd::test;

namespace {

Words keys(const Json& object) {
  Words all;
  for (const auto& [key, value] : object.items()) all.push_back(key);
  return all;
}

void check_memory(const Json& memory) {
  CHECK(keys(memory) == words("device host file"));
  for (const auto& [tier, bytes] : memory.items()) {
    CAPTURE(tier);
    CHECK(keys(bytes) == words("peak runtime params grads optimizer activations comm staging "
                               "control unused"));
    std::uint64_t sum = 0;
    for (const auto& [use, value] : bytes.items()) {
      REQUIRE(value.is_number_unsigned());
      if (use != "peak" && use != "runtime") sum += value.get<std::uint64_t>();
    }
    CHECK(sum == bytes.at("peak").get<std::uint64_t>());
  }
}

void check_step(const Json& step, std::uint64_t number) {
  CHECK(keys(step) == words("event step loss grad_norm lr loss_scale skipped tokens seconds "
                            "tokens_per_second"));
  CHECK(step.at("step") == number);
  for (const char* key : {"loss", "grad_norm", "lr", "loss_scale", "seconds", "tokens_per_second"})
    CHECK(step.at(key).is_number());
  CHECK(step.at("skipped") == false);
  CHECK(step.at("tokens").is_number_unsigned());
}

}  // namespace

TEST_CASE("the log holds the documented events with the documented keys in order") {
  const Bench bench;
  const Training run = bench.train(
      "--steps 4 --ranks 2 --zero-stage 2 --micro-batch 3 --eval-every 2 "
      "--eval-batches 2 --val-data " +
      bench.text);
  Words order;
  for (const Json& event : run.log) order.push_back(event.at("event"));
  CHECK(order == words("start step step eval step step eval end"));

  CHECK(keys(run.start()) == words("event version config numerics_key parameters world pids plan"));
  CHECK(run.start().at("parameters") == 259 * 72 + 128 * 72 + 2 * (12 * 72 * 72 + 13 * 72) + 144);
  CHECK(run.start().at("world") == 2);
  CHECK(run.start().at("pids").size() == 2);
  check_memory(run.start().at("plan"));

  std::uint64_t number = 0;
  for (const Json& step : run.steps()) {
    check_step(step, ++number);
    CHECK(step.at("tokens") == 2 * 3 * 33);
  }
  const Json eval = events(run.log, "eval").front();
  CHECK(keys(eval) == words("event step loss"));
  CHECK(eval.at("step") == 2);

  CHECK(keys(run.end()) ==
        words("event steps loss parameters_hash wire_bytes peak rss_peak seconds"));
  CHECK(run.end().at("steps") == 4);
  CHECK(run.end().at("loss") == run.steps().back().at("loss"));
  CHECK(keys(run.end().at("wire_bytes")) == words("all_gather reduce_scatter all_reduce"));
  check_memory(run.end().at("peak"));
}

TEST_CASE("the planned peak is the same in the plan, at the start and at the end") {
  const Bench bench;
  for (const std::string flags :
       {"--steps 2", "--steps 2 --ranks 3 --zero-stage 1 --grad-accum 2",
        "--steps 2 --ranks 2 --zero-stage 3 --bucket-bytes 64KiB --recompute block",
        "--steps 2 --ranks 2 --zero-stage 2 --overlap on --precision bf16"}) {
    CAPTURE(flags);
    const Training run = bench.train(flags);
    const Json plan = bench.plan(flags);
    CHECK(plan.at("plan") == run.start().at("plan"));
    CHECK(plan.at("plan") == run.end().at("peak"));
    CHECK(plan.at("numerics_key") == run.key());
    CHECK(plan.at("parameters") == run.start().at("parameters"));
  }
}

TEST_CASE("the listed processes are the supervisor's children while it runs and gone after") {
  const Bench bench;
  const std::string log = bench.folder.file("log");
  Process run(Words{SHERD_BINARY} + bench.small_run("--ranks 3 --steps 100000000") +
              Words{"--log", log});
  REQUIRE(wait_until([&] { return !events(log).empty(); }));
  const std::vector<pid_t> pids = events(log).front().at("pids");
  REQUIRE(pids.size() == 3);
  for (const pid_t pid : pids) {
    CHECK(pid != run.pid());
    CHECK(state_of(pid).parent == run.pid());
  }
  run.send(SIGINT);
  CHECK(run.wait().code == 130);
  for (const pid_t pid : pids) CHECK(is_gone(pid));
}

TEST_CASE("results go to stdout, progress to stderr, and quiet drops both") {
  const Bench bench;
  const Outcome loud = run_sherd(bench.small_run("--steps 2"));
  CHECK(loud.out.find("memory per rank") != std::string::npos);
  CHECK(loud.out.find("step 1/2") == std::string::npos);
  CHECK(loud.err.find("step 1/2") != std::string::npos);
  const Outcome quiet = run_sherd(bench.small_run("--steps 2 --quiet"));
  CHECK(quiet.code == 0);
  CHECK(quiet.out.empty());
  CHECK(quiet.err.empty());
  const Outcome refused = run_sherd(bench.small_run("--steps -2 --quiet"));
  CHECK(refused.out.empty());
  CHECK(refused.err.find("--steps") != std::string::npos);
}

TEST_CASE("an existing log is truncated") {
  const Bench bench;
  CHECK(bench.train("--steps 5").log.size() == 7);
  CHECK(bench.train("--steps 1").log.size() == 3);
}

TEST_CASE("a loss that is not finite is null in the log") {
  const Bench bench;
  const std::string log = bench.folder.file("log");
  const Outcome outcome = run_sherd(bench.small_run("--steps 30 --lr 1e30") + Words{"--log", log});
  CHECK(outcome.code == 6);
  const std::vector<Json> all = events(log);
  CHECK(all.back().at("event") == "step");
  CHECK(all.back().at("loss").is_null());
  CHECK(all.back().at("skipped") == true);
}

TEST_CASE("a dry run prints the plan, starts no rank and writes nothing") {
  const Bench bench;
  const std::string log = bench.folder.file("log");
  const Outcome outcome = run_sherd(bench.small_run("--dry-run --ranks 2") + Words{"--log", log});
  CHECK(outcome.code == 0);
  CHECK(outcome.err.empty());
  CHECK(outcome.out.find("need:") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(log));
}

TEST_CASE("a printed configuration trains to the same key and hash as the flags it came from") {
  const Bench bench;
  const std::string flags =
      "--steps 3 --ranks 2 --zero-stage 3 --lr 7e-4 --weight-decay 0.1 --schedule cosine "
      "--warmup-steps 1 --clip-grad-norm 1 --global-batch 8 --grad-accum 2 --seed 5 "
      "--reduce-order canonical --dropout 0.1";
  const Outcome printed = run_sherd(bench.small_run(flags + " --print-config"));
  REQUIRE(printed.code == 0);
  const std::string config = bench.folder.write("run.json", printed.out);
  const Training direct = bench.train(flags);
  const Training again = bench.logged(Words{"train", "--config", config});
  CHECK(direct.key() == again.key());
  CHECK(direct.hash() == again.hash());
  CHECK(direct.end().at("loss") == again.end().at("loss"));
}
