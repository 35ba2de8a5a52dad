// Under the address sanitizer a block that reads what it did not declare ends the process.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "sherd/base/poison.hpp"
#include "sherd/kernels/matmul.hpp"
#include "support/awkward_gpt2.hpp"
#include "support/thread_ranks.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

enum class Reads : std::uint8_t { nothing, one_byte, by_matmul };

/// Adds nothing to its input; in backward it may read that input, which it never asked to keep.
class Forgetful final : public Block {
 public:
  explicit Forgetful(Reads reads) : reads_(reads) {}
  void declare(Declare& d) const override {
    d.input({d.rows().numel(), awkward_gpt2().width});
    d.output({d.rows().numel(), awkward_gpt2().width});
    d.scratch(0, static_cast<Bytes>(awkward_gpt2().width * awkward_gpt2().width) * 4);
  }
  void forward(const Forward& f) override {
    stale_ = f.in;
    std::ranges::copy(f.in.raw(), f.out.data);
  }
  void backward(const Backward& b) override {
    std::ranges::copy(b.d_out.raw(), b.d_in.data);
    if (reads_ == Reads::one_byte)
      *b.scratch.data = *static_cast<const volatile std::byte*>(stale_.data);
    if (reads_ != Reads::by_matmul) return;
    const std::int64_t width = stale_.shape.cols;
    kernels::matmul({.a = stale_,
                     .b = b.d_out,
                     .transpose_a = kernels::Transpose::yes,
                     .out = {b.scratch.data, {width, width}, DType::f32}},
                    b.stream);
  }

 private:
  Reads reads_;
  View stale_;
};

bool dies(Reads reads) {
  const pid_t child = fork();
  if (child == 0) {
    dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
    launch::RunConfig config = awkward_config(1);
    config.batch.steps = 1;
    const ThreadRun run{.config = config, .job = [reads](Rank) {
                          launch::Job job = awkward_job(awkward_gpt2(), 4);
                          auto& blocks = job.model.blocks;
                          blocks.insert(blocks.begin() + 2,
                                        {"between.forgetful", std::make_unique<Forgetful>(reads)});
                          return job;
                        }};
    ThreadRanks ranks(run);
    _exit(train(ranks)[0].steps.size() == 1 ? 0 : 9);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

}  // namespace

TEST_CASE("a block that reads one byte it did not declare ends the process") {
  CHECK_FALSE(dies(Reads::nothing));
  if (!poison_works()) {
    std::puts("SKIP: built without the address sanitizer");
    return;
  }
  CHECK(dies(Reads::one_byte));
}

TEST_CASE("a product of an operand that was not declared ends the process") {
  if (!poison_works()) {
    std::puts("SKIP: built without the address sanitizer");
    return;
  }
  CHECK(dies(Reads::by_matmul));
}
