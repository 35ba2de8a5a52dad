#include <doctest/doctest.h>

#include "sherd/bench/held.hpp"

using namespace sherd;

namespace {

std::size_t count(const std::string& text, const std::string& what) {
  std::size_t found = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1))
    ++found;
  return found;
}

}  // namespace

TEST_CASE("a picture of stages has a bar of four parts for each and says its bytes") {
  const bench::HeldBytes held{"a <b> & c", {{gib, gib, gib, gib}, {gib, 0, gib, 0}}};
  const std::string svg = bench::draw(held);
  CHECK(svg.starts_with("<svg"));
  CHECK(svg.ends_with("</svg>\n"));
  CHECK(count(svg, "<rect") == 1 + 4 + 2 * 4);
  CHECK(svg.find("4.00 GiB") != std::string::npos);
  CHECK(svg.find("2.00 GiB") != std::string::npos);
  CHECK(svg.find("stage 1") != std::string::npos);
  CHECK(svg.find("a &lt;b&gt; &amp; c") != std::string::npos);
}

TEST_CASE("the bytes drawn are those a plan needs, fewer at each stage") {
  const bench::HeldBytes held = bench::held_by_stage("gpt2-124m", optim::Precision::bf16, 4);
  REQUIRE(held.stages.size() == 4);
  for (std::size_t s = 1; s < 4; ++s) CHECK(held.stages[s].total() < held.stages[s - 1].total());
  // Stage 3 keeps a quarter of 18 bytes a parameter: 2 stored, 4 gradient, 12 optimizer.
  const bench::HeldBytes::Stage& last = held.stages[3];
  const double kept = static_cast<double>(last.params + last.grads + last.optimizer);
  CHECK(kept == doctest::Approx(124439808.0 * 18 / 4).epsilon(0.001));
}

TEST_CASE("a picture of rows leaves out those without a bound and stays inside the frame") {
  const bench::Row bounded{.name = "half",
                           .time = {.median = 1, .fastest = 1, .slowest = 1, .rounds = 1},
                           .work = 1e9,
                           .bound_name = "copy",
                           .bound = 2e9,
                           .extra = {}};
  bench::Row above = bounded, unbounded = bounded;
  above.name = "above";
  above.bound = 0.5e9;
  unbounded.name = "unbounded";
  unbounded.bound = 0;
  const std::vector<bench::Row> rows = {bounded, above, unbounded};
  const std::string svg = bench::draw(rows, "title");
  CHECK(svg.find("50 %") != std::string::npos);
  CHECK(svg.find("200 %") != std::string::npos);
  CHECK(svg.find("unbounded") == std::string::npos);
  CHECK(count(svg, "<rect") == 1 + 2 * 2);
}
