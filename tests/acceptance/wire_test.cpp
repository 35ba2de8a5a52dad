#include "acceptance/program.hpp"

using namespace sherd::test;

namespace {

struct Case {
  int stage, ranks, accumulate;
  const char* reduce;
};

std::string flags_of(const Case& c) {
  return "--steps 3 --micro-batch 1 --bucket-bytes 100000 --zero-stage " + std::to_string(c.stage) +
         " --ranks " + std::to_string(c.ranks) + " --grad-accum " + std::to_string(c.accumulate) +
         " --reduce-every " + c.reduce;
}

}  // namespace

TEST_CASE("the bytes sent are the plan's, and the closed form's per verb") {
  const Bench bench;
  for (const Case& c : {Case{0, 2, 1, "step"}, Case{0, 3, 2, "micro"}, Case{0, 2, 3, "step"},
                        Case{1, 2, 1, "step"}, Case{1, 3, 2, "micro"}, Case{2, 5, 1, "step"},
                        Case{2, 2, 3, "micro"}, Case{3, 2, 1, "step"}, Case{3, 3, 2, "micro"},
                        Case{3, 2, 2, "step"}, Case{0, 1, 1, "step"}, Case{3, 1, 2, "micro"}}) {
    const std::string flags = flags_of(c);
    CAPTURE(flags);
    const Json sent = bench.train(flags).end().at("wire_bytes");
    const Json plan = bench.plan(flags);
    for (const auto& [verb, bytes] : plan.at("wire_bytes").items())
      CHECK(sent.at(verb) == 3 * bytes.get<std::uint64_t>());

    const std::uint64_t n = static_cast<std::uint64_t>(c.ranks),
                        accumulate = static_cast<std::uint64_t>(c.accumulate),
                        part = plan.at("padded_parameters").get<std::uint64_t>() / n * (n - 1) * 4,
                        reduces = std::string(c.reduce) == "micro" ? accumulate : 1;
    CHECK(sent.at("reduce_scatter") == 3 * part * reduces);
    if (c.stage < 3) {
      CHECK(sent.at("all_gather") == 3 * part);
    } else {
      const std::uint64_t gathered = sent.at("all_gather");
      CHECK(gathered >= 3 * part * accumulate);
      CHECK(gathered <= 3 * part * accumulate * 2);
    }
  }
}
