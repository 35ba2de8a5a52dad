#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "acceptance/program.hpp"

using namespace sherd::test;

namespace {

struct Case {
  std::string flags;
  Words told;  // all of these, in one go
};

void check_refused(const Bench& bench, const Case& c, int code = 2) {
  CAPTURE(c.flags);
  const std::string log = bench.folder.file("log");
  const Outcome outcome = run_sherd(bench.small_run(c.flags) + Words{"--log", log});
  INFO(outcome.err);
  CHECK(outcome.code == code);
  CHECK(outcome.out.empty());
  for (const std::string& part : c.told) {
    CAPTURE(part);
    CHECK(outcome.err.find(part) != std::string::npos);
  }
  CHECK_FALSE(std::filesystem::exists(log));
}

}  // namespace

TEST_CASE("flags that nobody knows and values that nobody can use are all told at once") {
  const Bench bench;
  for (const Case& c : {
           Case{"--steps 1 --zero-stag 1 --leyers 3", {"did you mean --zero-stage?", "--leyers"}},
           Case{"--steps 1 --zero-stage 4 --precision fp8 --ranks 0",
                {"--zero-stage: got 4", "'fp8'", "--ranks: got 0"}},
           Case{"--steps 1 --optimizer adam", {"did you mean adamw?"}},
           Case{"--steps x --lr y", {"--steps: got 'x'", "--lr: got 'y'"}},
           Case{"--steps 1 --memory-limit 2GB2", {"--memory-limit"}},
           Case{"--steps 1 --offload-params tape --moments int4",
                {"--offload-params", "--moments"}},
           Case{"--steps", {"--steps", "missing"}},
           Case{"--steps 1 stray", {"stray"}},
       })
    check_refused(bench, c);
}

TEST_CASE("flags that exclude each other are refused") {
  const Bench bench;
  for (const Case& c : {
           Case{"--steps 1 --epochs 1", {"--steps", "--epochs"}},
           Case{"--steps 1 --reduce-order canonical --reduce-every step", {"canonical"}},
           Case{"--steps 1 --loss-scale 8", {"--precision fp16"}},
           Case{"--steps 1 --precision fp16 --loss-scale 8 --loss-scale-min 2", {"dynamic"}},
           Case{"--steps 1 --eval-every 2", {"--val-data"}},
           Case{"--steps 1 --steps 2", {"given twice"}},
           Case{"--quiet", {"--steps: needed"}},
       })
    check_refused(bench, c);
}

TEST_CASE("numbers that make no sense are refused") {
  const Bench bench;
  for (const Case& c : {
           Case{"--steps 1 --lr nan --eps -1 --beta1 1 --beta2 -0.1",
                {"--lr", "--eps", "--beta1", "--beta2"}},
           Case{"--steps 1 --lr -1 --weight-decay -1 --clip-grad-norm -1",
                {"--lr", "--weight-decay", "--clip-grad-norm"}},
           Case{"--steps 1 --lr inf --timeout 0", {"--lr", "--timeout"}},
           Case{"--steps -1 --dropout 1", {"--steps", "--dropout"}},
           Case{"--steps 99999999999999999999", {"--steps"}},
           Case{"--steps 1 --grad-accum -1 --micro-batch -2", {"--grad-accum", "--micro-batch"}},
           Case{"--steps 1 --global-batch 7 --micro-batch 2 --ranks 2", {"--global-batch 7"}},
           Case{"--steps 1 --global-batch 8 --micro-batch 2 --grad-accum 3", {"right side is 6"}},
           Case{"--steps 1 --ranks 65", {"--ranks: got 65"}},
           Case{"--steps 1 --ranks 64 --micro-batch 1 --seq-len 1024", {"--seq-len"}},
       }) {
    if (c.flags.find("--seq-len") == std::string::npos) check_refused(bench, c);
  }
  CHECK(run_sherd(words("train --steps 1 --layers 2 --width 70 --heads 3 --data " + bench.text))
            .code == 2);
  CHECK(run_sherd(words("train --steps 1 --model gpt2-tny --data " + bench.text))
            .err.find("did you mean gpt2-tiny?") != std::string::npos);
  CHECK(run_sherd(words("train --steps 1 --seq-len 4096 --data " + bench.text)).code == 2);
  CHECK(run_sherd(words("train --steps 1")).err.find("--data: needed") != std::string::npos);
}

TEST_CASE("more ranks than sequences are refused") {
  const Bench bench;
  const std::string few = bench.folder.write("few.txt", std::string(33 * 3 + 1, 'a'));
  const std::string flags = "train --steps 1 --quiet " + small + "--data " + few + " --ranks ";
  const Outcome outcome = run_sherd(words(flags + "4"));
  CHECK(outcome.code == 2);
  CHECK(outcome.err.find("3 sequences") != std::string::npos);
  CHECK(run_sherd(words(flags + "3")).code == 0);
}

TEST_CASE("a log that cannot be written is refused before any work") {
  const Bench bench;
  for (const std::string& path : {bench.folder.file("no/such/folder/log"), bench.folder.file(""),
                                  std::string("/proc/none")}) {
    CAPTURE(path);
    const Outcome outcome = run_sherd(bench.small_run("--steps 1") + Words{"--log", path});
    INFO(outcome.err);
    CHECK(outcome.code == 2);
    CHECK(outcome.err.find("--log") != std::string::npos);
  }
}

TEST_CASE("output that would overwrite the data is refused") {
  const Bench bench;
  const std::string link = bench.folder.file("link.txt");
  std::filesystem::create_symlink(bench.text, link);
  for (const char* flag : {"--log", "--trace"}) {
    for (const std::string& path : {bench.text, link}) {
      const Outcome outcome = run_sherd(bench.small_run("--steps 1") + Words{flag, path});
      CHECK(outcome.code == 2);
      CHECK(outcome.err.find("is a file of --data") != std::string::npos);
    }
  }
  CHECK(bench.folder.read("text.txt") == sentences(400));
}

TEST_CASE("a trace goes through links and pipes, and never to the file of the log") {
  const Bench bench;
  const std::string link = bench.folder.file("link"), pipe = bench.folder.file("pipe");
  std::filesystem::create_symlink("traced.json", link);
  CHECK(run_sherd(bench.small_run("--steps 1") + Words{"--trace", link}).code == 0);
  CHECK(std::filesystem::is_symlink(link));
  CHECK(Json::parse(bench.folder.read("traced.json")).contains("traceEvents"));
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  const int reader = open(pipe.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  REQUIRE(reader >= 0);
  CHECK(run_sherd(bench.small_run("--steps 1") + Words{"--trace", pipe}).code == 0);
  CHECK(std::filesystem::is_fifo(pipe));
  std::string start(15, ' ');
  CHECK(read(reader, start.data(), start.size()) == 15);
  CHECK(start == "{\"traceEvents\":");
  close(reader);
  const std::string same = bench.folder.file("same"), other = bench.folder.file("./same");
  std::filesystem::create_symlink("/no/such/folder/t.json", bench.folder.file("astray"));
  CHECK(run_sherd(bench.small_run("--steps 1") + Words{"--trace", bench.folder.file("astray")})
            .code == 2);
  CHECK(run_sherd(bench.small_run("--steps 1 --log /dev/null --trace /dev/null")).code == 0);
  const Outcome both =
      run_sherd(bench.small_run("--steps 1") + Words{"--log", same, "--trace", other});
  CHECK(both.code == 2);
  CHECK(both.err.find("is the file of --log") != std::string::npos);
}

TEST_CASE("every problem of a configuration file is told, with flags over it") {
  const Bench bench;
  const auto with = [&](const std::string& text) {
    return run_sherd(bench.small_run("--steps 1 --quiet ") +
                     Words{"--config", bench.folder.write("c.json", text)});
  };
  CHECK(with(R"({"lr": 0.001, "zero_stage": 1})").code == 0);
  const Outcome bad = with(R"({"lerning_rate": 1, "zero_stage": 9, "ranks": "two", "lr": null})");
  CHECK(bad.code == 2);
  for (const char* part : {"lerning_rate", "zero-stage", "ranks", "lr"})
    CHECK(bad.err.find(part) != std::string::npos);
  for (const std::string text : {"", "{", "[]", "7", "{\"lr\": 1e999}", "{\"lr\": 1, \"lr\": 2}",
                                 "{\"lr\": 1} x", "\xff\xfe", "{\"config\": \"c.json\"}"}) {
    CAPTURE(text);
    CHECK(with(text).code == 2);
  }
  CHECK(with(std::string(100000, '[')).code == 2);
}
