#include <doctest/doctest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/scratch_folder.hpp"

namespace {

/// Held-out loss after one step that changes nothing (lr 0), at this part dropped.
double held_out_loss(const std::string& dropout) {
  const ScratchFolder folder;
  std::string text;
  for (int i = 0; i < 40; ++i) text += "Evaluation keeps every activation. ";
  const std::string corpus = "'" + folder.write("corpus.txt", text) + "'";
  const std::string command = std::string("'") + SHERD_PROGRAM +
                              "' train --quiet --steps 1 --lr 0 --layers 1 --seq-len 32 " +
                              "--micro-batch 2 --data " + corpus + " --val-data " + corpus +
                              " --dropout " + dropout + " --log '" + folder.file("log") +
                              "' </dev/null";
  REQUIRE(WEXITSTATUS(std::system(command.c_str())) == 0);
  std::istringstream log(folder.read("log"));
  for (std::string line; std::getline(log, line);) {
    const auto event = nlohmann::json::parse(line);
    if (event.at("event") == "eval") return event.at("loss").get<double>();
  }
  return -1;
}

}  // namespace

TEST_CASE("an evaluation drops nothing, whatever training drops") {
  CHECK(held_out_loss("0") > 0);
  CHECK(held_out_loss("0.5") == held_out_loss("0"));
}
