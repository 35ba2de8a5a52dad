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

// Means over the last hundred of five hundred steps: a single step's batch says little.
TEST_CASE("narrow moments and split masters learn prose as fp32 does, within one percent") {
  const Bench bench;
  const std::string flags =
      "train " + small +
      "--steps 500 --micro-batch 8 --lr 1e-3 --clip-grad-norm 1 --weight-decay 0.1 --data " +
      FIXTURES + "/../../docs ";
  const auto learn = [&](const std::string& formats) {
    const Training run = bench.logged(words(flags + formats));
    const std::vector<Json> steps = run.steps();
    REQUIRE(steps.size() == 500);
    double sum = 0;
    for (std::size_t i = 400; i < 500; ++i) sum += steps[i].at("loss").get<double>();
    return std::pair{sum / 100, run.hash()};
  };
  const auto [wide, wide_hash] = learn("");
  const auto [half, half_hash] = learn("--precision bf16");
  const auto [split, split_hash] = learn("--precision bf16 --master split");
  CHECK(split_hash == half_hash);
  CHECK(split == half);
  CHECK(wide_hash != half_hash);
  for (const std::string formats :
       {"--moments bf16", "--moments int8", "--precision bf16 --moments bf16",
        "--precision bf16 --master split --moments int8"}) {
    CAPTURE(formats);
    const double loss = learn(formats).first;
    CHECK(std::abs(loss - wide) <= 0.01 * wide);
  }
  CHECK(std::abs(half - wide) <= 0.01 * wide);
}
