#include <filesystem>

#include "acceptance/program.hpp"

using namespace sherd::test;

TEST_CASE("the tiny network learns real prose, equally at every stage") {
  const std::string prose = "/usr/share/common-licenses";
  if (!std::filesystem::exists(prose)) {
    MESSAGE("SKIP: no licence texts on this machine");
    return;
  }
  const Bench bench;
  const std::string flags =
      "train --model gpt2-tiny --steps 30 --global-batch 4 --seq-len 64 --lr 1e-3 --data " + prose;
  const Training one = bench.logged(words(flags));
  const double first = one.steps().front().at("loss"), last = one.steps().back().at("loss");
  CHECK(first > 5.0);  // near ln of the vocabulary: nothing is known yet
  CHECK(first - last > 1.5);
  const Training whole = bench.logged(words(flags + " --ranks 2 --zero-stage 0"));
  const Training sharded = bench.logged(words(flags + " --ranks 2 --zero-stage 3"));
  CHECK(whole.hash() == sharded.hash());
  CHECK(whole.end().at("loss") == sharded.end().at("loss"));
  CHECK(std::abs(whole.end().at("loss").get<double>() - last) < 1e-3 * last);
}
