// A block that reaches beyond what it declared ends the process in the sanitized build, also where
// a library that the sanitizer cannot see into would do the reading.
#include <doctest/doctest.h>

#include <array>
#include <cstdio>

#include "engine/toy_job.hpp"
#include "sherd/base/poison.hpp"
#include "support/awkward_gpt2.hpp"
#include "support/process.hpp"
#include "support/thread_ranks.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

/// What the second block does in forward, knowing what the first was once given.
using Fault = std::function<void(const Forward&, const Forward& first)>;

int train_with(const Fault& fault, int world) {
  launch::RunConfig config = awkward_config(world);
  config.sharding.zero_stage = world > 1 ? 3 : 0;
  // Views that outlive their call: what no block may keep.
  std::vector<std::unique_ptr<Forward>> kept(static_cast<std::size_t>(world));
  std::vector<std::vector<View>> params(static_cast<std::size_t>(world));
  const ThreadRun run{.config = config, .job = [&](Rank rank) {
                        const auto at = static_cast<std::size_t>(rank);
                        return toy_job(
                            [&, at](const Forward& f) {
                              if (kept[at]) return;
                              params[at].assign(f.params.begin(), f.params.end());
                              kept[at] = std::make_unique<Forward>(f);
                              kept[at]->params = params[at];
                            },
                            [&, at](const Forward& f) { fault(f, *kept[at]); });
                      }};
  ThreadRanks ranks(run);
  return train(ranks).front().steps.size() == 3 ? 0 : 3;
}

struct Ended {
  bool quietly = false;
  std::string said;  // on stderr
};

/// The run in a process of its own, as the sanitizer ends the one that it finds at fault.
Ended ended_with(const Fault& fault, int world = 1) {
  std::array<int, 2> ends{};
  REQUIRE(pipe(ends.data()) == 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
    int code = 4;
    try {
      code = train_with(fault, world);
    } catch (const std::exception& error) {
      std::fputs(error.what(), stderr);
    }
    _exit(code);
  }
  close(ends[1]);
  Ended ended;
  std::array<char, 4096> part{};
  for (ssize_t n = 0; (n = read(ends[0], part.data(), part.size())) > 0;)
    ended.said.append(part.data(), static_cast<std::size_t>(n));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  ended.quietly = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  return ended;
}

void check_caught(const Fault& fault, int world = 1) {
  const Ended ended = ended_with(fault, world);
  CAPTURE(ended.said);
  CHECK_FALSE(ended.quietly);
  CHECK(ended.said.find("AddressSanitizer") != std::string::npos);
}

bool skipped() {
  if (!poison_works()) std::puts("SKIP: needs the address sanitizer");
  return !poison_works();
}

void read_byte(const std::byte* at) {
  const volatile std::byte* byte = at;
  static_cast<void>(*byte == std::byte{0});
}

}  // namespace

TEST_CASE("a block that stays within its declaration trains to the end") {
  for (const int world : {1, 2}) {
    const Ended ended = ended_with(
        [](const Forward& f, const Forward&) {
          read_byte(f.in.data);
          read_byte(f.in.data + f.in.bytes() - 1);
          f.out.data[f.out.bytes() - 1] = std::byte{0};
        },
        world);
    CAPTURE(ended.said);
    CHECK(ended.quietly);
    CHECK(ended.said.empty());
  }
}

TEST_CASE("a read of an activation of another block is caught") {
  if (skipped()) return;
  check_caught([](const Forward&, const Forward& first) { read_byte(first.in.data); });
}

TEST_CASE("a read of a parameter of another block is caught at any stage") {
  if (skipped()) return;
  const Fault fault = [](const Forward&, const Forward& first) { read_byte(first.params[0].data); };
  check_caught(fault, 1);
  check_caught(fault, 2);
}

TEST_CASE("one byte beyond a declared buffer is caught, read or written") {
  if (skipped()) return;
  check_caught([](const Forward& f, const Forward&) { read_byte(f.in.data + f.in.bytes()); });
  check_caught([](const Forward& f, const Forward&) {
    volatile std::byte* beyond = f.out.data + f.out.bytes();
    *beyond = std::byte{1};
  });
}

TEST_CASE("a matmul of an operand that was not declared is caught") {
  const auto product = [](const Forward& f, View a) {
    std::array<float, toy_width * toy_width> b{};
    const View weight{reinterpret_cast<std::byte*>(b.data()), {toy_width, toy_width}, DType::f32};
    kernels::matmul({.a = a, .b = weight, .out = f.out}, f.stream);
  };
  const Ended control = ended_with([&](const Forward& f, const Forward&) { product(f, f.in); });
  CAPTURE(control.said);
  CHECK(control.quietly);
  if (skipped()) return;
  check_caught([&](const Forward& f, const Forward& first) { product(f, first.in); });
}
