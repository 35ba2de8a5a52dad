#include <doctest/doctest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/scratch_folder.hpp"

namespace {

using nlohmann::json;

struct Outcome {
  int code = -1;
  std::string err;
  std::vector<json> events;
};

/// Runs the built example on its table; `flags` are words for a shell.
Outcome own_model(const std::string& flags) {
  const ScratchFolder folder;
  const std::string command = std::string("'") + OWN_MODEL_PROGRAM + "' --data '" + WAVES_TABLE +
                              "' --quiet --log '" + folder.file("log") + "' " + flags +
                              " >/dev/null 2>'" + folder.file("err") + "' </dev/null";
  const int status = std::system(command.c_str());
  Outcome outcome{WIFEXITED(status) ? WEXITSTATUS(status) : -1, folder.read("err"), {}};
  std::istringstream log(folder.read("log"));
  for (std::string line; std::getline(log, line);) outcome.events.push_back(json::parse(line));
  return outcome;
}

double mean_loss(const Outcome& outcome, std::size_t first, std::size_t count) {
  double sum = 0;
  for (std::size_t i = first; i < first + count; ++i) {
    REQUIRE(outcome.events.at(i).at("event") == "step");
    sum += outcome.events[i].at("loss").get<double>();
  }
  return sum / static_cast<double>(count);
}

}  // namespace

TEST_CASE("a network of one's own learns to the same bits at stages 0 and 3") {
  const std::string flags = "--steps 40 --lr 3e-3 --ranks 2 --reduce-every micro --zero-stage ";
  std::vector<std::string> hashes, keys;
  for (const char* stage : {"0", "3"}) {
    const Outcome run = own_model(flags + stage);
    REQUIRE(run.code == 0);
    CHECK(run.err.empty());
    REQUIRE(run.events.size() == 42);
    CHECK(mean_loss(run, 31, 10) < 0.6 * mean_loss(run, 1, 4));
    CHECK(run.events.back().at("event") == "end");
    keys.push_back(run.events.front().at("numerics_key"));
    hashes.push_back(run.events.back().at("parameters_hash"));
  }
  CHECK(keys[0] == keys[1]);
  CHECK(hashes[0] == hashes[1]);
}

TEST_CASE("a network of one's own trains on three ranks in bf16 with its blocks recomputed") {
  const std::string flags = "--steps 3 --ranks 3 --zero-stage 3 --precision bf16 --seed 5";
  const Outcome kept = own_model(flags), rebuilt = own_model(flags + " --recompute block");
  REQUIRE(kept.code == 0);
  REQUIRE(rebuilt.code == 0);
  CHECK(kept.events.back().at("parameters_hash") == rebuilt.events.back().at("parameters_hash"));
}

TEST_CASE("a table job refuses what a table has not, with exit code 2") {
  CHECK(own_model("--steps 1 --seq-len 4").err ==
        "sherd: --seq-len: the rows of a table have no length; leave it out\n");
  CHECK(own_model("--steps 1 --seq-len 4").code == 2);
  CHECK(own_model("--steps 1 --val-data a.csv b.csv").err ==
        "sherd: --val-data: got 2 paths, need one table\n");
  CHECK(own_model("--steps 1 --model gpt2-tiny").code == 2);
}

TEST_CASE("a held-out table of other columns is refused with both numbers") {
  const ScratchFolder folder;
  const std::string table = folder.write("held_out.csv", "1,2,3\n4,5,6\n");
  const Outcome run = own_model("--steps 1 --val-data '" + table + "'");
  CHECK(run.code == 2);
  CHECK(run.err == "sherd: --val-data: got 2 columns of inputs, need 4 as in --data\n");
}
