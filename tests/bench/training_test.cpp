// Rows that train, with the built program as the children.
#include "sherd/bench/training.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <map>

#include "cli/scratch_folder.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/base/poison.hpp"

using namespace sherd;
using bench::Row;

namespace {

bench::Children children_in(const ScratchFolder& folder) {
  return {SHERD_PROGRAM, {}, std::filesystem::path(folder.file("x")).parent_path()};
}

void be_silent(std::string_view) {}

const bench::Extra* extra_of(const Row& row, const std::string& name) {
  for (const bench::Extra& extra : row.extra) {
    if (extra.first == name) return &extra;
  }
  return nullptr;
}

std::vector<Row> all_parts(const bench::Children& children) {
  std::vector<Row> rows;
  for (const std::string_view part : bench::step_parts) {
    const std::vector<Row> some =
        bench::step(part, {.threads = 2, .quick = true, .rounds = 1}, children, be_silent);
    rows.insert(rows.end(), some.begin(), some.end());
  }
  return rows;
}

}  // namespace

TEST_CASE("a child's log says what it held and computed, equal at two stages") {
  const ScratchFolder folder;
  const bench::Children children = children_in(folder);
  const std::string data = bench::sample_text(children, 1 << 14);
  std::vector<bench::ChildRun> runs;
  for (const char* stage : {"0", "1"}) {
    runs.push_back(bench::train_in_child(
        children, {"--data", data, "--steps", "2", "--micro-batch", "2", "--seq-len", "16",
                   "--ranks", "2", "--threads", "1", "--zero-stage", stage}));
  }
  for (const bench::ChildRun& run : runs) {
    CHECK(run.step_seconds.size() == 2);
    CHECK(run.losses.size() == 2);
    CHECK(run.planned.device > 0);
    CHECK(run.measured == run.planned);
    CHECK(run.seconds_to_first_step > 0);
    CHECK(run.rss_peak > 0);
  }
  CHECK(runs[0].parameters_hash == runs[1].parameters_hash);
  CHECK(runs[0].planned != runs[1].planned);
}

TEST_CASE("a child that fails is an error that names its command") {
  const ScratchFolder folder;
  const bench::Children children = children_in(folder);
  try {
    (void)bench::train_in_child(children, {"--data", folder.file("absent"), "--steps", "1"});
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(std::string(error.what()).find("exit code 4") != std::string::npos);
    CHECK(std::string(error.what()).find("--steps 1") != std::string::npos);
  }
}

TEST_CASE("step rows train at both precisions and stages with no wrong results") {
  const ScratchFolder folder;
  const std::vector<Row> rows = all_parts(children_in(folder));
  std::map<std::string, int> names;
  for (const Row& row : rows) {
    INFO(row.name);
    ++names[row.name];
    CHECK(row.wrong == 0);
    CHECK(row.bound > 0);
    CHECK(row.time.median > 0);
  }
  CHECK(names ==
        std::map<std::string, int>{{"machine", 1},
                                   {"generate gpt2-tiny fp32", 1},
                                   {"save stall gpt2-tiny fp32", 1},
                                   {"start gpt2-tiny", 1},
                                   {"step gpt2-tiny bf16", 1},
                                   {"step gpt2-tiny bf16, optimizer host", 1},
                                   {"step gpt2-tiny bf16, optimizer host, gradients device", 1},
                                   {"step gpt2-tiny fp32", 3}});
  REQUIRE(rows[1].name == "step gpt2-tiny fp32");
  CHECK(extra_of(rows[1], "forward_seconds") != nullptr);
  CHECK(extra_of(rows[1], "backward_seconds") != nullptr);
  CHECK(std::get<double>(extra_of(rows[1], "model_seconds")->second) > 0);
}

TEST_CASE("memory rows agree with the closed form, the ledger and the process in every placement") {
  const ScratchFolder folder;
  const std::vector<Row> rows =
      bench::memory({.threads = 1, .quick = true}, children_in(folder), be_silent);
  // Seven placements in fp32 and nine in bf16; one world of one stage, three of four.
  CHECK(rows.size() == 2 * (7 + 9) * (1 + 3 * 4));
  std::map<std::string, std::size_t> measured;
  for (const Row& row : rows) {
    INFO(bench::to_json(row));
    // The address sanitizer's own memory is more than any reserve.
    CHECK(row.wrong <= (poison_works() && extra_of(row, "rss_peak") != nullptr ? 1 : 0));
    CHECK(row.of_bound() <= 1 + 1e-9);
    CHECK(row.of_bound() > 0.9);
    if (extra_of(row, "measured") == nullptr) continue;
    for (const char* tier : {"", "_host", "_file"}) {
      const auto bytes = [&](const char* kind) {
        return std::get<std::int64_t>(extra_of(row, std::string(kind) + tier)->second);
      };
      CHECK(bytes("measured") == bytes("planned"));
      CHECK(bytes("states") <= bytes("formula"));
    }
    ++measured[std::get<std::string>(extra_of(row, "placement")->second)];
  }
  CHECK(measured.size() == 9);
  CHECK(measured["resident"] == 2 * 5);
  CHECK(measured["all states file"] == 2 * 2);
  CHECK(measured["split int8 optimizer file"] == 2);
}
