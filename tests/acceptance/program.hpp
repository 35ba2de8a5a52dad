#pragma once
// The built program as a stranger meets it: words in, exit code, text and log out.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "cli/scratch_folder.hpp"
#include "support/process.hpp"

namespace sherd::test {

using Json = nlohmann::ordered_json;
using Words = std::vector<std::string>;

/// Splits at spaces.
inline Words words(const std::string& text) {
  std::istringstream stream(text);
  Words all;
  for (std::string word; stream >> word;) all.push_back(word);
  return all;
}

inline Words operator+(Words a, const Words& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// A network that trains a step in milliseconds.
inline const std::string small = "--layers 2 --width 72 --heads 3 --vocab-size 259 --seq-len 33 ";

inline std::string sentences(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    text += "sentence " + std::to_string(i * 37 % 1009) + ": fox number " +
            std::to_string(i * i % 97) + " jumps over " + std::to_string(i * 7 % 31) +
            " lazy dogs\n";
  }
  return text;
}

inline Outcome run_sherd(const Words& arguments, const Place& place = {}) {
  return run(Words{SHERD_BINARY} + arguments, place);
}

/// Every complete line of a log so far.
inline std::vector<Json> events(const std::string& path) {
  std::ifstream file(path);
  std::vector<Json> all;
  for (std::string line; std::getline(file, line) && !file.eof();) all.push_back(Json::parse(line));
  return all;
}
inline std::vector<Json> events(const std::vector<Json>& all, const std::string& kind) {
  std::vector<Json> some;
  for (const Json& event : all)
    if (event.at("event") == kind) some.push_back(event);
  return some;
}

/// A finished training run and what it logged.
struct Training {
  Outcome outcome;
  std::vector<Json> log;
  [[nodiscard]] const Json& start() const { return log.front(); }
  [[nodiscard]] const Json& end() const { return log.back(); }
  [[nodiscard]] std::vector<Json> steps() const { return events(log, "step"); }
  [[nodiscard]] std::string hash() const { return end().at("parameters_hash"); }
  [[nodiscard]] std::string key() const { return start().at("numerics_key"); }
};

/// Equal keys, losses and norms of every step, and parameters.
inline void check_same(const Training& a, const Training& b) {
  CHECK(a.key() == b.key());
  CHECK(a.hash() == b.hash());
  const std::vector<Json> left = a.steps(), right = b.steps();
  REQUIRE(left.size() == right.size());
  for (std::size_t i = 0; i < left.size(); ++i) {
    CHECK(left[i].at("loss") == right[i].at("loss"));
    CHECK(left[i].at("grad_norm") == right[i].at("grad_norm"));
  }
}

/// A folder with text to train on.
struct Bench {
  ScratchFolder folder;
  std::string text = folder.write("text.txt", sentences(400));

  [[nodiscard]] Words small_run(const std::string& flags) const {
    return words("train " + small + flags) + Words{"--data", text};
  }
  /// `flags` of a run that must succeed.
  [[nodiscard]] Training train(const std::string& flags) const { return logged(small_run(flags)); }
  [[nodiscard]] Training logged(const Words& command) const {
    const std::string log = folder.file("run.jsonl");
    Training training{run_sherd(command + Words{"--log", log}), {}};
    INFO(training.outcome.err);
    REQUIRE(training.outcome.code == 0);
    training.log = events(log);
    REQUIRE(training.log.size() >= 2);
    REQUIRE(training.end().at("event") == "end");
    return training;
  }
  [[nodiscard]] Json plan(const std::string& flags) const {
    const Outcome outcome =
        run_sherd(words("plan --json " + small + flags) + Words{"--data", text});
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    return Json::parse(outcome.out);
  }
};

}  // namespace sherd::test
