#include <filesystem>

#include "acceptance/program.hpp"

using namespace sherd::test;

TEST_CASE("paths with spaces, quotes and bytes that are no UTF-8 work") {
  const Bench bench;
  const std::string folder = bench.folder.file("a b'c\xff\xfe\"d");
  std::filesystem::create_directory(folder);
  std::filesystem::copy_file(bench.text, folder + "/text\xe9.txt");
  const std::string log = folder + "/the log\n.jsonl";
  const Outcome outcome = run_sherd(words("train --steps 1 --ranks 2 --quiet " + small) +
                                    Words{"--data", folder, "--log", log});
  INFO(outcome.err);
  CHECK(outcome.code == 0);
  const std::vector<Json> all = events(log);
  REQUIRE(all.size() == 3);
  CHECK(all.back().at("event") == "end");
}

TEST_CASE("relative paths are those of the folder the program starts in") {
  const Bench bench;
  const Outcome outcome =
      run_sherd(words("train --steps 1 --ranks 2 --quiet " + small + "--data text.txt --log log"),
                {.folder = bench.folder.file(""), .environment = {"HOME", "TMPDIR=/nonexistent"}});
  CHECK(outcome.code == 0);
  CHECK(events(bench.folder.file("log")).size() == 3);
}

TEST_CASE("standard input and output may be closed") {
  const Bench bench;
  const std::string log = bench.folder.file("log");
  const Words flags = bench.small_run("--steps 2 --ranks 2") + Words{"--log", log};
  CHECK(run_sherd(flags, {.input = false}).code == 0);
  CHECK(run_sherd(flags, {.out = -2}).code == 0);
  CHECK(run_sherd(flags, {.out = -2, .input = false}).code == 0);
  CHECK(events(log).back().at("event") == "end");
}

TEST_CASE("a plan that stdout cannot take is exit code 1") {
  const Bench bench;
  const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
  REQUIRE(full >= 0);
  const Words plan = words("plan --json " + small);
  CHECK(run_sherd(plan, {.out = full}).code == 1);
  CHECK(run_sherd({"--help"}, {.out = full}).code == 1);
  const Outcome training = run_sherd(bench.small_run("--steps 2 --ranks 2"), {.out = full});
  CHECK(training.code == 0);
  CHECK(training.err.find("cannot write the closing table") != std::string::npos);
  close(full);
}

TEST_CASE("a reader of the results that has left does not turn a good run into a bad one") {
  const Bench bench;
  int ends[2] = {-1, -1};
  REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
  close(ends[0]);
  CHECK(run_sherd(bench.small_run("--steps 2 --ranks 2"), {.out = ends[1]}).code == 0);
  close(ends[1]);
}

TEST_CASE("a log on a full disk ends the run with an error and not with a hang") {
  const Bench bench;
  const Outcome outcome = run_sherd(bench.small_run("--steps 3 --ranks 2 --log /dev/full"));
  INFO(outcome.err);
  CHECK(outcome.code == 1);
  CHECK(outcome.err.find("--log") != std::string::npos);
}

TEST_CASE("runs beside each other do not meet") {
  const Bench bench;
  const Words flags = bench.small_run("--steps 5 --ranks 2 --zero-stage 3");
  Process a(Words{SHERD_BINARY} + flags + Words{"--log", bench.folder.file("a")});
  Process b(Words{SHERD_BINARY} + flags + Words{"--log", bench.folder.file("b")});
  CHECK(a.wait().code == 0);
  CHECK(b.wait().code == 0);
  const Json first = events(bench.folder.file("a")).back(),
             second = events(bench.folder.file("b")).back();
  CHECK(first.at("parameters_hash") == second.at("parameters_hash"));
}

TEST_CASE("odd numbers of ranks and windows train") {
  const Bench bench;
  CHECK(bench.train("--steps 2 --ranks 7 --zero-stage 3 --micro-batch 1").end().at("steps") == 2);
  const std::string one = bench.folder.write("one.txt", std::string(34, 'a'));
  CHECK(run_sherd(words("train --steps 3 --quiet " + small + "--data " + one)).code == 0);
  CHECK(run_sherd(words("plan --world 64 --zero-stage 3 --model gpt2-1558m --memory-limit 64GiB "
                        "--host-memory-limit 1TiB"))
            .code == 0);
}

TEST_CASE("an interrupt while the ranks start leaves nothing behind") {
  const Bench bench;
  for (int i = 0; i < 5; ++i) {
    Process run(Words{SHERD_BINARY} + bench.small_run("--steps 100000000 --ranks 3 --quiet"));
    std::vector<pid_t> ranks;
    const std::string children =
        "/proc/" + std::to_string(run.pid()) + "/task/" + std::to_string(run.pid()) + "/children";
    REQUIRE(wait_until([&] {
      std::ifstream file(children);
      ranks.clear();
      for (pid_t pid = 0; file >> pid;) ranks.push_back(pid);
      return !ranks.empty();
    }));
    run.send(SIGINT);
    const Outcome outcome = run.wait();
    CHECK_FALSE(outcome.late);
    CHECK(outcome.code == 130);
    for (const pid_t pid : ranks) CHECK(is_gone(pid));
  }
}
