#include "bench/optim_reference.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace sherd;
using bench::Element;
using bench::Rule;
using bench::Updated;

namespace {

constexpr Element start{.grad = 512, .master = 0.5, .m = 0.01, .v = 1e-4};
const kernels::UpdateScalars scalars{
    .factor = 1.0f / 1024, .lr = 1e-3f, .bias1 = 0.19, .bias2 = 0.001999};

kernels::UpdateArgs arguments() {
  kernels::UpdateArgs args;
  args.weight_decay = 0.1f;
  args.scalars = &scalars;
  return args;
}

Element rounded(const Updated& u) {
  const auto narrow = [](double x) { return static_cast<double>(static_cast<float>(x)); };
  return {.master = narrow(u.master), .m = narrow(u.m), .v = narrow(u.v)};
}

bfloat16 copy_of(const Element& e) { return to_stored_bfloat16(static_cast<float>(e.master)); }

}  // namespace

// Worked by hand: g = 0.5, m = 0.059, v = 0.0003499, step lr · (m / 0.19) / sqrt(v / 0.001999).
TEST_CASE("the AdamW reference gives a hand-worked step") {
  const Updated u = bench::reference_update(Rule::adamw, start, arguments());
  CHECK(u.m == doctest::Approx(0.059).epsilon(1e-6));
  CHECK(u.v == doctest::Approx(0.0003499).epsilon(1e-4));
  const double step = 1e-3 * (0.059 / 0.19) / std::sqrt(0.0003499 / 0.001999);
  CHECK(u.master == doctest::Approx(0.5 - 0.5e-4 - step).epsilon(1e-7));
}

TEST_CASE("the SGD and Lion references give hand-worked steps") {
  const Updated sgd = bench::reference_update(Rule::sgd, start, arguments());
  CHECK(sgd.m == doctest::Approx(0.009 + 0.55));
  CHECK(sgd.master == doctest::Approx(0.5 - 0.000559));
  const Updated lion = bench::reference_update(Rule::lion, start, arguments());
  CHECK(lion.master == doctest::Approx(0.5 - 1e-3 * 1.05));
  CHECK_FALSE(lion.sign_open);
}

TEST_CASE("a planted error of a thousandth of a step is found in each output") {
  for (const Rule rule : {Rule::adamw, Rule::lion, Rule::sgd}) {
    const Updated u = bench::reference_update(rule, start, arguments());
    const Element good = rounded(u);
    CHECK(bench::is_right(u, good, copy_of(good)));

    Element bad = good;
    bad.master += 1e-3 * (u.master - start.master);
    CHECK_FALSE(bench::is_right(u, bad, copy_of(bad)));
    bad = good;
    bad.m *= 1 + 1e-5;
    CHECK_FALSE(bench::is_right(u, bad, copy_of(bad)));
    bfloat16 param = copy_of(good);
    ++param.bits;
    CHECK_FALSE(bench::is_right(u, good, param));
  }
  const Updated u = bench::reference_update(Rule::adamw, start, arguments());
  Element bad = rounded(u);
  bad.v *= 1 + 1e-5;
  CHECK_FALSE(bench::is_right(u, bad, copy_of(bad)));
}

TEST_CASE("a value that is not a number is wrong") {
  const Updated u = bench::reference_update(Rule::adamw, start, arguments());
  Element bad = rounded(u);
  bad.m = std::nan("");
  CHECK_FALSE(bench::is_right(u, bad, copy_of(bad)));
}
