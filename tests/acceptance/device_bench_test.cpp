// `sherd bench --device` from outside, on the emulated device.
#include <map>

#include "acceptance/program.hpp"

using namespace sherd::test;

namespace {

Place emulated() {
  Place place;
  place.environment = {std::string("SHERD_DEVICE_LIBRARY=") + SHERD_EMULATED};
  return place;
}

/// How many rows have each name; every one must be right and say all that a reader needs.
std::map<std::string, int> rows_of(const std::string& what) {
  const Outcome outcome =
      run_sherd(words("bench " + what + " --device cuda --json --quick"), emulated());
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  std::map<std::string, int> names;
  std::istringstream lines(outcome.out);
  for (std::string line; std::getline(lines, line);) {
    INFO(line);
    const Json row = Json::parse(line);
    const std::string unit = row.contains("gb_per_s") ? "gb_per_s" : "flop_per_s";
    for (const std::string& key :
         {std::string("seconds"), unit, "bound_" + unit, std::string("of_bound")}) {
      REQUIRE(row.contains(key));
      CHECK(row[key].get<double>() > 0);
    }
    CHECK(row.at("wrong") == 0);
    CHECK(row.at("where") == "device");
    ++names[row.at("name")];
  }
  return names;
}

}  // namespace

TEST_CASE("a bench of a device gives rows for steps, optimizers and collectives") {
  const std::map<std::string, int> steps = rows_of("step");
  CHECK(steps.size() == (12 + 5) + 15 + (2 + 2) + 1);
  CHECK(steps.contains("device.step.gpt2-tiny"));
  CHECK(rows_of("optim") ==
        std::map<std::string, int>{{"device.adamw", 2}, {"device.lion", 1}, {"device.sgd", 1}});
  CHECK(rows_of("comm") == std::map<std::string, int>{{"device.reduce_scatter", 1},
                                                      {"device.all_gather", 1},
                                                      {"device.all_reduce", 1}});
}

TEST_CASE("a bench of a device that is not there ends with exit code 2 and the reason") {
  Place place;
  place.environment = {"SHERD_DEVICE_LIBRARY=/nonexistent/libsherd.so"};
  const Outcome none = run_sherd(words("bench optim --device cuda --quick"), place);
  CHECK(none.code == 2);
  CHECK(none.err.find("/nonexistent/libsherd.so") != std::string::npos);
  for (const auto& [flags, said] :
       {std::pair{"bench comm --device cuda:9", "got index 9"},
        {"bench step --device gpu", "got 'gpu'"},
        {"bench memory --device cuda", "bench memory has no rows of a device"},
        {"bench optim --devise cuda", "did you mean --device"},
        {"bench optin --device cuda", "did you mean optim"}}) {
    CAPTURE(flags);
    const Outcome outcome = run_sherd(words(flags), emulated());
    CHECK(outcome.code == 2);
    CHECK(outcome.err.find(said) != std::string::npos);
  }
}

TEST_CASE("the help of bench names its devices") {
  const Outcome outcome = run_sherd(words("bench --help"));
  CHECK(outcome.code == 0);
  CHECK(outcome.out.find("auto|cpu|cuda[:INDEX]") != std::string::npos);
}
