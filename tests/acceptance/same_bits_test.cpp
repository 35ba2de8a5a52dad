#include "acceptance/program.hpp"

using namespace sherd::test;

namespace {

constexpr const char* base =
    "--steps 4 --lr 1e-3 --dropout 0.1 --clip-grad-norm 1 --micro-batch 4 ";

}  // namespace

TEST_CASE("a run repeated has the same bits") {
  const Bench bench;
  for (const std::string more :
       {"", "--ranks 2 --zero-stage 3", "--precision bf16 --grad-dtype bf16"})
    check_same(bench.train(base + more), bench.train(base + more));
}

TEST_CASE("the number of threads changes no bit") {
  const Bench bench;
  for (const std::string more :
       {"", "--ranks 2 --zero-stage 2", "--precision bf16", "--precision fp16"}) {
    CAPTURE(more);
    check_same(bench.train(base + more + " --threads 1"),
               bench.train(base + more + " --threads 2"));
    check_same(bench.train(base + more + " --threads 1"),
               bench.train(base + more + " --threads 5"));
  }
}

TEST_CASE("overlap, stage, buckets, prefetch and recompute change no bit") {
  const Bench bench;
  const std::string ranks = "--ranks 3 --grad-accum 2 --reduce-every micro ";
  const Training plain = bench.train(base + ranks + "--overlap off");
  for (const std::string more :
       {"--overlap on", "--zero-stage 1", "--zero-stage 2 --overlap on", "--zero-stage 3",
        "--zero-stage 3 --overlap on --prefetch 3 --bucket-bytes 50000",
        "--zero-stage 3 --overlap on --prefetch 0 --bucket-bytes 1", "--recompute selective",
        "--zero-stage 2 --recompute block --bucket-bytes 200000"}) {
    CAPTURE(more);
    check_same(plain, bench.train(base + ranks + more));
  }
}

TEST_CASE("canonical order gives the same bits on any number of ranks") {
  const Bench bench;
  const std::string same =
      "--steps 4 --lr 1e-3 --micro-batch 2 --global-batch 12 --reduce-order canonical ";
  const Training one = bench.train(same);
  for (const std::string more :
       {"--ranks 2 --zero-stage 3", "--ranks 3 --zero-stage 2", "--ranks 6"}) {
    CAPTURE(more);
    check_same(one, bench.train(same + more));
  }
}

TEST_CASE("another seed, rate or batch is another key") {
  const Bench bench;
  const Training plain = bench.train(base);
  for (const std::string more : {"--seed 1", "--eps 1e-7", "--weight-decay 0.1", "--precision bf16",
                                 "--grad-accum 2", "--schedule cosine"}) {
    CAPTURE(more);
    const Training other = bench.train(base + more);
    CHECK(other.key() != plain.key());
    CHECK(other.hash() != plain.hash());
  }
}
