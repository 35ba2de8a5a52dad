#include <doctest/doctest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>

#include "cli/scratch_folder.hpp"

namespace {

struct Outcome {
  int code = -1;
  std::string out, err;
};

/// Runs the built executable; `arguments` are words for a shell.
Outcome sherd(const std::string& arguments) {
  const ScratchFolder folder;
  const std::string command = std::string("'") + SHERD_PROGRAM + "' " + arguments + " >'" +
                              folder.file("out") + "' 2>'" + folder.file("err") + "' </dev/null";
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, folder.read("out"), folder.read("err")};
}

}  // namespace

TEST_CASE("bad flags end with exit code 2 and a line on stderr for each problem") {
  const Outcome bad = sherd("train --zero-stag 3 --precision fp31 --beta1 1 --data x");
  CHECK(bad.code == 2);
  CHECK(bad.out.empty());
  CHECK(bad.err ==
        "sherd: --zero-stag: unknown flag; did you mean --zero-stage?\n"
        "sherd: --precision: got 'fp31', need one of fp32, bf16, fp16; did you mean fp32?\n"
        "sherd: --beta1: got 1, need a number in [0, 1)\n"
        "sherd: --steps: needed to train (or give --epochs)\n");
}

TEST_CASE("no command, a wrong command and wrong words of bench are exit code 2") {
  CHECK(sherd("").code == 2);
  CHECK(sherd("").err.starts_with("sherd: need a command"));
  CHECK(sherd("trian").err == "sherd: 'trian': unknown command; did you mean train?\n");
  CHECK(sherd("trian").code == 2);
  CHECK(sherd("bench").code == 2);
  CHECK(sherd("bench memry --quik").code == 2);
  const std::string both = sherd("bench memry --quik").err;
  CHECK(both.find("did you mean memory?") != std::string::npos);
  CHECK(both.find("did you mean --quick?") != std::string::npos);
  CHECK(sherd("plan --world 2 --ranks 2").err == "sherd: --ranks: given twice\n");
  CHECK(sherd("plan --world 65").code == 2);
  CHECK(sherd("--verson").err == "sherd: --verson: unknown flag; did you mean --version?\n");
}

TEST_CASE("help and version go to stdout and end well") {
  CHECK(sherd("--version").out == "sherd 0.1.0\n");
  CHECK(sherd("--version").code == 0);
  const Outcome help = sherd("train --help");
  CHECK(help.code == 0);
  CHECK(help.err.empty());
  CHECK(help.out.find("--zero-stage N") != std::string::npos);
  CHECK(sherd("--help").out.find("bench") != std::string::npos);
  CHECK(sherd("plan --help").out.find("--world") != std::string::npos);
}

TEST_CASE("a printed configuration is a valid file that prints itself again") {
  const ScratchFolder folder;
  const Outcome first =
      sherd("train --print-config --lr 1e-3 --data a b --memory-limit 2GiB --seed 7");
  CHECK(first.code == 0);
  CHECK(first.err.empty());
  folder.write("run.json", first.out);
  const Outcome second = sherd("train --print-config --config '" + folder.file("run.json") + "'");
  CHECK(second.code == 0);
  CHECK(second.out == first.out);
  CHECK(sherd("train --print-config --lr -1").code == 2);
}

TEST_CASE("a refused run leaves nothing behind") {
  const ScratchFolder folder;
  CHECK(sherd("train --log '" + folder.file("log") + "' --data x --steps -1").code == 2);
  CHECK(folder.is_empty());
}
