#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "io/temp_folder.hpp"

namespace {

namespace fs = std::filesystem;
using sherd::test::contains;
using sherd::test::TempFolder;

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Outcome {
  int code = -1;
  std::string out, err;
};

/// Runs the built executable after `before`; both are words for a shell.
Outcome limited(const TempFolder& folder, const std::string& before, const std::string& arguments) {
  const std::string out = folder.path() + "/stdout", err = folder.path() + "/stderr";
  const std::string command = before + "; '" + SHERD_PROGRAM + "' " + arguments + " >'" + out +
                              "' 2>'" + err + "' </dev/null";
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_file(out), read_file(err)};
}

Outcome program(const TempFolder& folder, const std::string& arguments) {
  return limited(folder, "true", arguments);
}

const std::string tokenizers = std::string(SHERD_FIXTURES) + "/tokenizers/";

std::map<std::string, std::string> files_in(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file())
      files[fs::relative(entry.path(), folder).string()] = read_file(entry.path());
  return files;
}

/// A child that is killed after `delay`; true if it was still at work then.
bool killed_after(const std::vector<std::string>& words, std::chrono::microseconds delay) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    ::execv(SHERD_PROGRAM, arguments.data());
    ::_exit(127);
  }
  std::this_thread::sleep_for(delay);
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status);
}

}  // namespace

TEST_CASE("tokens written once train as the text itself does") {
  const TempFolder folder;
  const std::string text = tokenizers + "text.txt", file = tokenizers + "qwen.json";
  const Outcome made = program(folder, "data tokenize " + text + " --tokenizer " + file +
                                           " --out " + folder.path() + "/tokens --json --quiet");
  REQUIRE(made.code == 0);
  CHECK(made.err.empty());
  const auto line = nlohmann::json::parse(made.out);
  CHECK(line["documents"] == 1);
  CHECK(line["shards"] == 1);
  CHECK(line["vocab_size"] == 2507);
  const auto train = [&](const std::string& data, const std::string& vocab = "2507") {
    return program(folder, "train --layers 1 --width 32 --heads 2 --seq-len 16 --micro-batch 2 " +
                               std::string("--steps 3 --vocab-size ") + vocab + " --data " + data);
  };
  const auto hash = [](const Outcome& run) { return run.out.substr(run.out.rfind(' ') + 1); };
  const Outcome tokens = train(folder.path() + "/tokens");
  const Outcome direct = train(text + " --tokenizer " + file);
  REQUIRE(tokens.code == 0);
  REQUIRE(direct.code == 0);
  CHECK(hash(tokens) == hash(direct));
  CHECK(hash(tokens) != hash(train(text)));
  const Outcome small = train(text + " --tokenizer " + file, "2506");
  CHECK(small.code == 4);
  CHECK(contains(small.err, "has 2507 tokens, need at most the model's 2506"));
  CHECK(train(text + " --tokenizer " + folder.path() + "/none.json").code == 4);
}

TEST_CASE("flags of tokenize are refused all at once, and content has its own exit code") {
  const TempFolder folder;
  const Outcome none = program(folder, "data tokenize --threads -1 --shard-tokens 0");
  CHECK(none.code == 2);
  for (const char* part : {"need a path", "--tokenizer: needed", "--out: needed",
                           "--threads: got -1", "--shard-tokens: got 0"})
    CHECK(contains(none.err, part));
  CHECK(program(folder, "data").code == 2);
  CHECK(contains(program(folder, "data tokenise").err, "did you mean tokenize?"));
  const std::string rest = " --out " + folder.path() + "/out --tokenizer " + tokenizers;
  CHECK(contains(program(folder, "data tokenize x" + rest + "gpt2.json --separator '<none>'").err,
                 "which is no token"));
  CHECK(program(folder, "data tokenize " + folder.path() + "/x" + rest + "gpt2.json").code == 4);
  CHECK(program(folder, "data tokenize " + tokenizers + rest + "expected.json").code == 4);
  CHECK_FALSE(fs::exists(folder.path() + "/out"));
  CHECK(contains(program(folder, "data tokenize --help").out, "--separator"));
}

TEST_CASE("a run killed at any moment shows nothing half-written and is gone on with") {
  const TempFolder folder;
  std::string text = read_file(tokenizers + "text.txt");
  for (int i = 0; i < 6; ++i) text += text;  // 4.5 MB
  const std::string source = folder.write("in.txt", text);
  const auto words = [&](const std::string& out) {
    return std::vector<std::string>{"sherd",
                                    "data",
                                    "tokenize",
                                    source,
                                    "--tokenizer",
                                    tokenizers + "gpt2.json",
                                    "--out",
                                    folder.path() + "/" + out,
                                    "--shard-tokens",
                                    "200000",
                                    "--quiet",
                                    "--threads",
                                    "2"};
  };
  const auto finish = [&](const std::string& out) {
    std::string line;
    for (const std::string& word : words(out)) line += word == "sherd" ? "" : " '" + word + "'";
    CHECK(program(folder, line).code == 0);
    return files_in(folder.path() + "/" + out);
  };
  const auto want = finish("whole");
  int killed = 0;
  for (int round = 0; round < 12; ++round) {
    const std::string out = "out" + std::to_string(round);
    for (int again = 0; again < 2; ++again) {
      const bool at_work =
          killed_after(words(out), std::chrono::microseconds(17000 * (round + 1) * (again + 1)));
      if (at_work && fs::exists(folder.path() + "/" + out))
        CHECK(fs::exists(folder.path() + "/" + out + "/manifest.json"));
      killed += at_work ? 1 : 0;
    }
    CHECK(finish(out) == want);
    fs::remove_all(folder.path() + "/" + out);
    CHECK_FALSE(fs::exists(folder.path() + "/." + out + ".unfinished"));
  }
  CHECK(killed > 0);
}

TEST_CASE("a disk that takes no more is named, and what was written is gone on with") {
  const TempFolder folder;
  std::string text = read_file(tokenizers + "text.txt");
  for (int i = 0; i < 4; ++i) text += text;
  const std::string line =
      "data tokenize " + folder.write("in.txt", text) + " --tokenizer " + tokenizers +
      "gpt2.json --quiet --shard-tokens 150000 --threads 1 --out " + folder.path() + "/";
  REQUIRE(program(folder, line + "whole").code == 0);
  // A limit on the size of a file stands for a full disk: the first write past it fails.
  const Outcome full = limited(folder, "ulimit -f 200", line + "out");
  CHECK(full.code == 4);
  CHECK(contains(full.err, "000000.bin: cannot be written (write: File too large)"));
  CHECK_FALSE(fs::exists(folder.path() + "/out"));
  REQUIRE(program(folder, line + "out").code == 0);
  CHECK(files_in(folder.path() + "/out") == files_in(folder.path() + "/whole"));
}
