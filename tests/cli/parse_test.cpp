#include <doctest/doctest.h>

#include <CLI/CLI.hpp>
#include <sstream>

#include "cli/scratch_folder.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/cli/config_json.hpp"
#include "sherd/cli/options.hpp"

using namespace sherd;
using launch::RunConfig;

namespace {

using Words = std::vector<std::string>;

constexpr cli::RunOptions plan_options = {.zoo = true, .purpose = launch::Purpose::plan};

Words split(const std::string& line) {
  std::istringstream stream(line);
  Words words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

cli::Parsed parse(CLI::App& app, Words words) {
  std::vector<const char*> argv = {"program"};
  for (const std::string& word : words) argv.push_back(word.c_str());
  return cli::parse(app, static_cast<int>(argv.size()), argv.data());
}

RunConfig config_of(const Words& words, cli::RunOptions wanted = plan_options) {
  CLI::App app;
  RunConfig config;
  cli::add_run_options(app, config, wanted);
  CHECK(parse(app, words) == cli::Parsed::run);
  return config;
}

std::string problems_of(const Words& words, cli::RunOptions wanted = plan_options) {
  CLI::App app;
  RunConfig config;
  cli::add_run_options(app, config, wanted);
  try {
    parse(app, words);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "none";
}

}  // namespace

TEST_CASE("each bad word on a command line is one problem, and all are listed together") {
  struct Row {
    const char* words;
    const char* problem;
  };
  const Row table[] = {
      {"--zero-stag 3", "--zero-stag: unknown flag; did you mean --zero-stage?"},
      {"--quantise-hats=host", "--quantise-hats: unknown flag"},
      {"-x", "-x: unknown flag"},
      {"--precision fp31",
       "--precision: got 'fp31', need one of fp32, bf16, fp16; did you mean fp32?"},
      {"--backend gloo", "--backend: got 'gloo', need one of auto, local, nccl"},
      {"--optimizer Adamw",
       "--optimizer: got 'Adamw', need one of adamw, lion, sgd; did you mean adamw?"},
      {"--steps 1.5", "--steps: got '1.5', need an integer from 0 to 1000000000000000"},
      {"--layers 12abc", "--layers: got '12abc', need an integer from 0 to 1024"},
      {"--heads 0x10", "--heads: got '0x10', need an integer from 0 to 4096"},
      {"--width 99999999999999999999",
       "--width: got '99999999999999999999', need an integer from 0 to 1048576"},
      {"--seed -1", "--seed: got '-1', need an integer of 0 or more"},
      {"--lr nan", "--lr: got 'nan', need a number of 0 or more"},
      {"--eps inf", "--eps: got 'inf', need a number above 0"},
      {"--beta1 1", "--beta1: got 1, need a number in [0, 1)"},
      {"--weight-decay=-0.1", "--weight-decay: got -0.1, need a number of 0 or more"},
      {"--memory-limit 2gallons", "--memory-limit: got '2gallons', need a size such as 512MiB"},
      {"--bucket-bytes -4MiB",
       "--bucket-bytes: got '-4MiB', need a size of 1 byte or more, such as 512MiB"},
      {"--quiet=maybe", "--quiet: got 'maybe', need true or false"},
      {"--model gpt2-tniy",
       "--model: got 'gpt2-tniy', which is no folder and no preset; did you mean gpt2-tiny? "
       "Presets are gpt2-tiny gpt2-124m gpt2-355m gpt2-774m gpt2-1558m llama3.2-1b llama3.2-3b "
       "llama3.1-8b qwen2.5-0.5b qwen2.5-1.5b qwen2.5-3b qwen2.5-7b qwen2.5-14b qwen2.5-32b "
       "qwen3-0.6b qwen3-1.7b qwen3-4b qwen3-8b"},
      {"--prefetch 1 --prefetch 1", "--prefetch: given twice"},
      {"--decay-all --decay-all", "--decay-all: given twice"},
      {"--loss-scale dynamic", "--loss-scale: needs --precision fp16"},
      {"--threads", "--threads: a value is missing, need an integer from 0 to 1024"},
      {"--data", "--data: a value is missing, need a list of paths"},
      {"--config", "--config: a value is missing, need a JSON file"},
  };
  Words all = {"stray"};
  for (const Row& row : table) {
    CAPTURE(row.words);
    CHECK(problems_of(split(row.words)) == row.problem);
    for (const std::string& word : split(row.words)) all.push_back(word);
  }
  const std::string everything = problems_of(all) + "\n";
  CHECK(everything.starts_with("'stray': belongs to no flag\n"));
  for (const Row& row : table)
    if (row.problem != std::string("--loss-scale: needs --precision fp16"))
      CHECK_MESSAGE(everything.find(std::string(row.problem) + "\n") != std::string::npos,
                    row.problem);
}

TEST_CASE("a mistyped value is not reported a second time as a consequence") {
  const cli::RunOptions train = {.zoo = true, .needs_data = true};
  CHECK(problems_of({"--data", "a", "--steps", "ten"}, train) ==
        "--steps: got 'ten', need an integer from 0 to 1000000000000000");
  CHECK(problems_of({"--data", "a", "--stesp", "10"}, train) ==
        "--stesp: unknown flag; did you mean --steps?");
  CHECK(problems_of({"--zero-stag", "3", "--zero-stage", "9"}) ==
        "--zero-stag: unknown flag; did you mean --zero-stage?\n"
        "--zero-stage: got 9, need an integer from 0 to 3");
  CHECK(problems_of({}, train) ==
        "--steps: needed to train (or give --epochs)\n--data: needed to train");
}

TEST_CASE("sizes a preset cannot have are refused with the other problems, once each") {
  CHECK(problems_of({"--heads", "5", "--lr", "-1"}) ==
        "--lr: got -1, need a number of 0 or more\n--heads: got 5, need a divisor of width 128");
  CHECK(problems_of({"--heads", "5", "--width", "72"}) ==
        "--heads: got 5, need a divisor of width 72");
  CHECK(problems_of({"--layers", "-1"}) == "--layers: got -1, need an integer from 0 to 1024");
}

TEST_CASE("flags take sizes, signs, several paths and words that look like commands") {
  const RunConfig config =
      config_of({"--memory-limit", "2GiB", "--bucket-bytes=4096", "--data", "a", "train", "--data",
                 "b", "--lr=1e-3", "--quiet=false", "--decay-all", "--steps", "5"});
  CHECK(config.memory.memory_limit == 2 * gib);
  CHECK(config.sharding.bucket_bytes == 4096);
  CHECK(config.data.data == Words{"a", "train", "b"});
  CHECK(config.optimizer.lr == 1e-3);
  CHECK(config.optimizer.decay_all);
  CHECK(config.batch.steps == 5);
}

TEST_CASE("flags override the file, and lists replace lists") {
  const ScratchFolder folder;
  const std::string file =
      folder.write("run.json", R"({"lr": 0.5, "steps": 7, "data": ["x", "y"], "quiet": true})");
  const RunConfig config =
      config_of({"--lr", "0.25", "--config", file, "--data", "z", "--quiet=false"});
  CHECK(config.optimizer.lr == 0.25);
  CHECK(config.batch.steps == 7);
  CHECK(config.data.data == Words{"z"});
  CHECK(!config.output.quiet);
}

TEST_CASE("problems of the file and of flags come in one message") {
  const ScratchFolder folder;
  const std::string file =
      folder.write("run.json", R"({"zero_stag": 3, "beta1": 1.5, "steps": "x"})");
  CHECK(problems_of({"--config", file, "--beta2", "2"}, {.zoo = true}) ==
        file + ": \"steps\": got \"x\", need an integer from 0 to 1000000000000000\n" + file +
            ": \"zero_stag\": unknown key; did you mean zero_stage?\n"
            "--beta1: got 1.5, need a number in [0, 1)\n"
            "--beta2: got 2, need a number in [0, 1)");
  CHECK(problems_of({"--config", folder.file("none")}) ==
        "--config: cannot read '" + folder.file("none") + "'");
  CHECK(problems_of({"--config", folder.file("")}) ==
        "--config: cannot read '" + folder.file("") + "'");
  const std::string big = folder.write("big.json", std::string((1 << 20) + 1, ' '));
  CHECK(problems_of({"--config", big}) == "--config: '" + big + "' is larger than 1 MiB");
}

TEST_CASE("a log nobody can write is refused with the other problems") {
  CHECK(problems_of({"--log", "/nowhere/at/all", "--ranks", "65"}) ==
        "--ranks: got 65, need an integer from 1 to 64\n"
        "--log: cannot write '/nowhere/at/all': there is no folder '/nowhere/at'");
}

TEST_CASE("a program with its own network has no flags of the zoo and keeps its own flags") {
  CLI::App app;
  RunConfig config;
  std::string table;
  app.add_option("--table", table)->required();
  cli::add_run_options(app, config);
  CHECK(parse(app, {"--table", "t.csv", "--steps", "3", "--zero-stage", "3"}) == cli::Parsed::run);
  CHECK(table == "t.csv");
  CHECK(config.sharding.zero_stage == 3);
  CHECK(problems_of({"--layers", "3", "--steps", "1"}, {}) == "--layers: unknown flag");
  CLI::App strict;
  RunConfig other;
  strict.add_option("--table", table)->required();
  cli::add_run_options(strict, other);
  try {
    parse(strict, {"--tabel", "x", "--lr", "-1", "--steps", "1"});
    FAIL("accepted");
  } catch (const ConfigError& error) {
    CHECK(error.problems == Words{"--table is required",
                                  "--tabel: unknown flag; did you mean --table?",
                                  "--lr: got -1, need a number of 0 or more"});
  }
}

TEST_CASE("a plain app.parse fills the config too, and throws what CLI11 expects") {
  CLI::App app;
  RunConfig config;
  cli::add_run_options(app, config);
  std::vector<std::string> reversed = {"3", "--zero-stage", "9", "--steps"};
  app.parse(reversed);
  CHECK(config.batch.steps == 9);
  CHECK(config.sharding.zero_stage == 3);
  CLI::App bad;
  RunConfig unused;
  cli::add_run_options(bad, unused);
  std::vector<std::string> words = {"-1", "--lr", "fp31", "--precision", "3", "--steps"};
  CHECK_THROWS_AS(bad.parse(words), CLI::ValidationError);
}

TEST_CASE("guarded turns each kind of failure into its exit code") {
  CHECK(cli::guarded([] { return 7; }) == 7);
  CHECK(cli::guarded([]() -> int { throw ConfigError({"one", "two"}); }) == 2);
  CHECK(cli::guarded([]() -> int { throw CapacityError("does not fit"); }) == 3);
  CHECK(cli::guarded([]() -> int { throw Interrupted(2); }) == 130);
  CHECK(cli::guarded([]() -> int { throw 5; }) == 1);
}
