#include "sherd/cli/progress.hpp"

#include <doctest/doctest.h>

#include <sstream>

#include "sherd/cli/closing_table.hpp"

using namespace sherd;

namespace {

cli::StepEvent step(std::int64_t number, double seconds) {
  return {.step = number,
          .loss = 4.5,
          .grad_norm = 1.25,
          .lr = 3e-4,
          .skipped = number == 2,
          .tokens = 1000,
          .seconds = seconds,
          .tokens_per_second = 1000 / seconds};
}

}  // namespace

TEST_CASE("lines print each step and each evaluation on a line") {
  std::ostringstream out;
  cli::Progress progress(out, cli::ProgressStyle::lines, 2);
  progress.step(step(1, 0.001));
  progress.step(step(2, 2));
  progress.eval({.step = 2, .loss = 4.25});
  progress.finish();
  CHECK(out.str() ==
        "step 1/2  loss 4.5000  grad norm 1.250  lr 0.0003  1.00M tok/s\n"
        "step 2/2  loss 4.5000  grad norm 1.250  lr 0.0003  500 tok/s  skipped\n"
        "step 2  held-out loss 4.2500\n");
}

TEST_CASE("a bar is redrawn in place with the time left, and ends its line") {
  std::ostringstream out;
  cli::Progress progress(out, cli::ProgressStyle::bar, 4);
  progress.step(step(1, 60));
  CHECK(out.str() ==
        "\r\x1b[K[######..................] step 1/4  loss 4.5000  17 tok/s  3:00 left");
  out.str("");
  progress.eval({.step = 1, .loss = 4.25});
  progress.step(step(3, 3600));
  progress.finish();
  progress.finish();
  CHECK(out.str() ==
        "\nstep 1  held-out loss 4.2500\n"
        "\r\x1b[K[##################......] step 3/4  loss 4.5000  0 tok/s  30:30 left\n");
}

TEST_CASE("a bar skips steps faster than the eye, never the last one") {
  std::ostringstream out;
  cli::Progress progress(out, cli::ProgressStyle::bar, 1000);
  for (std::int64_t i = 1; i <= 1000; ++i) progress.step(step(i, 0.001));
  std::size_t drawn = 0;
  for (const char c : out.str()) drawn += c == '\r' ? 1 : 0;
  CHECK(drawn >= 15);
  CHECK(drawn <= 25);
  CHECK(out.str().find("step 1000/1000") != std::string::npos);
}

TEST_CASE("a quiet run shows nothing") {
  std::ostringstream out;
  cli::Progress progress(out, cli::progress_style(true), 2);
  progress.step(step(1, 1));
  progress.eval({.step = 1, .loss = 1});
  progress.finish();
  CHECK(out.str().empty());
}

TEST_CASE("a closing table lists each tier and use that holds bytes") {
  cli::ClosingTable table;
  table.zero_stage = 3;
  table.planned.device = {.peak = 3 * mib, .runtime = kib, .params = mib, .grads = 2 * mib};
  table.measured.device = {.peak = 3 * mib, .runtime = 512, .params = mib, .grads = 2 * mib};
  table.stage0.device = {.peak = 9 * mib, .runtime = kib, .params = 4 * mib, .grads = 5 * mib};
  table.stage0.host.comm = 7;
  CHECK(cli::closing_table(table) ==
        "memory per rank, stage 3\n"
        "tier    use                planned      measured       stage 0\n"
        "device  peak              3.00 MiB      3.00 MiB      9.00 MiB\n"
        "device  runtime           1.00 KiB         512 B      1.00 KiB\n"
        "device  params            1.00 MiB      1.00 MiB      4.00 MiB\n"
        "device  grads             2.00 MiB      2.00 MiB      5.00 MiB\n"
        "host    comm                   0 B           0 B           7 B\n");
}
